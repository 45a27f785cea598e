"""Observe an init from outside by the kernel's tracepoints, in a private instance of tracefs that is always removed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Optional

from . import system
from .identity import HARNESS
from .ringbuffer import Event, Format, decode, missed

TRACEFS = "/sys/kernel/tracing"
PREFIX = "pyinit-benchmarks-"

# The events, and the fields that are read.
FORK, SIGNAL = "sched/sched_process_fork", "signal/signal_generate"
CLONES = ("syscalls/sys_exit_clone", "syscalls/sys_exit_clone3", "syscalls/sys_exit_fork", "syscalls/sys_exit_vfork")
WAITS = ("syscalls/sys_exit_wait4", "syscalls/sys_exit_waitid")
EXEC, MASK = "sched/sched_process_exec", "syscalls/sys_exit_rt_sigprocmask"
FIELDS = ("child_pid", "ret", "pid", "sig", "result", "code")
SIGCHLD = 17
IGNORED = 1  # signal_generate's result for a signal that the kernel dropped: TRACE_SIGNAL_IGNORED

# The most memory for the ring buffers, in bytes: of one CPU, and of all CPUs together.
PER_CPU, TOGETHER = 24 << 20, 256 << 20


class Unavailable(Exception):
    """Tracepoints cannot be used here; the text says why."""


class Tracer:
    """A private tracing instance; use it in a `with` statement, which removes it."""

    def __init__(self) -> None:
        self.folder = f"{TRACEFS}/instances/{PREFIX}{HARNESS}"
        self.formats: dict[int, Format] = {}
        self.enabled: list[str] = []
        self.lost = 0

    def __enter__(self) -> Tracer:
        """Create the instance. Raises Unavailable."""
        if sys.byteorder != "little":
            raise Unavailable("its binary form is only read on little-endian machines")
        mount_tracefs()
        remove_stale_instances()
        try:
            os.mkdir(self.folder)
            self.write("tracing_on", "0")
            self.write("trace_clock", "mono")  # CLOCK_MONOTONIC, the clock of the storm generator's plan
            cpus = os.cpu_count() or 1
            self.write("buffer_size_kb", str(min(PER_CPU, TOGETHER // cpus) // 1024))
            for event in (SIGNAL, FORK, *CLONES, *WAITS, EXEC, MASK):
                self.add(event)
        except OSError as error:
            self.__exit__()
            raise Unavailable(f"{error.filename or TRACEFS}: {error.strerror}") from None
        except BaseException:
            self.__exit__()
            raise
        if not any(event in self.enabled for event in WAITS) or SIGNAL not in self.enabled or FORK not in self.enabled:
            self.__exit__()
            raise Unavailable("this kernel lacks the tracepoints (CONFIG_FTRACE_SYSCALLS)")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.write("tracing_on", "0")
            self.write("events/enable", "0")
        except OSError:
            pass  # the instance was not made
        try:
            os.rmdir(self.folder)
        except FileNotFoundError:
            pass

    def add(self, event: str) -> None:
        """Read the layout of an event; leave out an event that this kernel or machine lacks."""
        try:
            with open(f"{self.folder}/events/{event}/format", encoding="ascii") as file:
                form = Format(event, file.read(), FIELDS)
        except FileNotFoundError:
            return
        self.formats[form.number] = form
        self.enabled.append(event)

    def write(self, name: str, text: str) -> None:
        """Write to one of the instance's control files. Raises OSError."""
        with open(f"{self.folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def start_signals(self, number: int, sender: int) -> None:
        """Record each signal `number` that process `sender` sends, and whether the kernel dropped it."""
        self.write("tracing_on", "0")
        self.write("trace", "")
        self.write(f"events/{SIGNAL}/filter", f"sig == {number} && common_pid == {sender}")
        self.write(f"events/{SIGNAL}/enable", "1")
        self.write("tracing_on", "1")

    def start_masks(self) -> None:
        """Record every execve(2) and every change of a signal mask, of all processes."""
        self.write("tracing_on", "0")
        self.write("trace", "")
        for event in {EXEC, MASK} & set(self.enabled):
            self.write(f"events/{event}/enable", "1")
        self.write("tracing_on", "1")

    def start(self, init: int, storm: str) -> None:
        """Record SIGCHLDs to the init, its wait calls, and the forks of processes whose comm is `storm`."""
        self.write("tracing_on", "0")
        self.write("trace", "")
        for event in [event for event in self.enabled if event not in (EXEC, MASK)]:
            if event == SIGNAL:
                rule = f"sig == {SIGCHLD} && pid == {init}"
            elif event in WAITS:
                rule = f"common_pid == {init}"
            elif event == FORK:
                rule = f'COMM == "{storm}"'
            else:
                rule = f'COMM == "{storm}" && ret > 0'
            self.write(f"events/{event}/filter", rule)
            self.write(f"events/{event}/enable", "1")
        self.write("tracing_on", "1")

    def stop(self) -> list[Event]:
        """Stop recording; return the events sorted by time. Sets self.lost to the number that the kernel lost."""
        self.write("tracing_on", "0")
        self.write("events/enable", "0")
        self.lost = 0
        events: list[Event] = []
        for cpu in sorted(os.listdir(f"{self.folder}/per_cpu")):
            self.lost += self.count_lost(cpu)
            events += decode(self.read_pages(cpu), self.formats)
        events.sort(key=lambda event: event.time)
        return events

    def read_pages(self, cpu: str) -> Iterator[bytes]:
        """Yield the pages of one CPU's ring buffer; reading removes them. Counts losses."""
        size = self.page_size()
        descriptor = os.open(f"{self.folder}/per_cpu/{cpu}/trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK)
        try:
            while True:
                try:
                    page = os.read(descriptor, size)
                except BlockingIOError:
                    return
                if not page:
                    return
                self.lost += missed(page)
                yield page
        finally:
            os.close(descriptor)

    def page_size(self) -> int:
        """Return the size in bytes of a page of the ring buffer, which is variable from Linux 6.8 on."""
        try:
            with open(f"{self.folder}/buffer_subbuf_size_kb", encoding="ascii") as file:
                return int(file.read()) * 1024
        except FileNotFoundError:
            return os.sysconf("SC_PAGE_SIZE")

    def count_lost(self, cpu: str) -> int:
        """Return how many events the kernel overwrote or dropped on a CPU."""
        with open(f"{self.folder}/per_cpu/{cpu}/stats", encoding="ascii") as file:
            values = dict(line.split(":", 1) for line in file if ":" in line)
        return sum(int(values.get(name, "0")) for name in ("overrun", "commit overrun", "dropped events"))


def mount_tracefs() -> None:
    """Mount tracefs if it is missing. It stays mounted: other tools expect it there. Raises Unavailable."""
    if os.path.isdir(f"{TRACEFS}/instances"):
        return
    try:
        system.mount("nodev", TRACEFS, "tracefs")
    except OSError as error:
        raise Unavailable(f"{TRACEFS} is not there and cannot be mounted: {os.strerror(error.errno or 0)}") from None


def remove_stale_instances() -> None:
    """Remove the instances of harnesses that SIGKILL ended: their PIDs no longer exist. Raises Unavailable."""
    try:
        names = os.listdir(f"{TRACEFS}/instances")
    except OSError as error:
        raise Unavailable(f"{TRACEFS}/instances: {error.strerror}") from None
    for name in names:
        owner = name[len(PREFIX):]
        if name.startswith(PREFIX) and owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
            try:
                os.rmdir(f"{TRACEFS}/instances/{name}")
            except OSError:
                pass


def open_tracer() -> tuple[Optional[Tracer], str]:
    """Return an entered tracer and "", or None and the reason."""
    try:
        return Tracer().__enter__(), ""
    except Unavailable as reason:
        return None, str(reason)
