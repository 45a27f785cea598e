"""Read from /proc, proc(5), what only the experiments need."""

from __future__ import annotations

import os
import time
from typing import Union

from pyinit.linux.procfs import list_children, read_stat


def read(path: str) -> str:
    """Return the whole text of a file of /proc. Raises OSError."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def read_status(process: Union[int, str]) -> dict[str, str]:
    """Return the fields of /proc/PID/status by name. `process`: a PID, or a thread as PID/task/TID. Raises OSError."""
    return dict(line.split(":", 1) for line in read(f"/proc/{process}/status").splitlines() if ":" in line)


def read_state(pid: int) -> str:
    """Return the letter of a process's state (R, S, D, Z ...), "" if it no longer exists."""
    try:
        return read_stat(pid)[0]
    except (OSError, IndexError):
        return ""


def read_name(pid: int) -> str:
    """Return the comm of a process, 15 bytes at most, "" if it no longer exists."""
    try:
        return read(f"/proc/{pid}/comm").rstrip("\n")
    except OSError:
        return ""


def read_cpu(pid: int) -> int:
    """Return the nanoseconds of CPU, user and system, that a process's threads have used. Raises OSError.

    The figure is from schedstat, which the scheduler counts in nanoseconds.
    """
    return sum(int(read(f"/proc/{pid}/task/{thread}/schedstat").split()[0])
               for thread in os.listdir(f"/proc/{pid}/task"))


def read_switches(pid: int) -> int:
    """Return the number of context switches of a process's threads, voluntary and involuntary. Raises OSError."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        status = read_status(f"{pid}/task/{thread}")
        total += int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])
    return total


def count_zombies(pid: int) -> int:
    """Return how many children of a process are zombies. Raises OSError."""
    return sum(read_state(child) == "Z" for child in list_children(pid))


class ZombieWatch:
    """Counts the zombies of a process repeatedly. It reads the state of a child only until the child is a zombie."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.known: set[int] = set()  # the zombies of the last count
        self.most = 0
        self.history: list[tuple[float, float]] = []  # CLOCK_MONOTONIC in seconds, and the number of zombies

    def since(self, start: float) -> list[tuple[float, float]]:
        """Return the history after an instant, in seconds from it; the first point is no zombie at that instant."""
        return [(0.0, 0.0), *((instant - start, count) for instant, count in self.history if instant > start)]

    def count(self) -> int:
        """Return how many zombies there are now. Raises OSError if the process no longer exists."""
        children = set(list_children(self.pid))
        self.known &= children
        # Look twice: a child that the kernel itself reaps is also a zombie, but only while the kernel notifies its
        # parent, exit_notify(). It then holds the lock that a list of children needs, so the second look comes later.
        new = {child for child in children - self.known if read_state(child) == "Z"}
        if new:
            new &= set(list_children(self.pid))
        self.known.update(child for child in new if read_state(child) == "Z")
        self.most = max(self.most, len(self.known))
        self.history.append((time.monotonic(), len(self.known)))
        return len(self.known)


def blocks_or_catches(pid: int, number: int) -> bool:
    """Return whether a process blocks or catches a signal; if not, PID 1 would lose it. Raises OSError.

    While a process is inside sigtimedwait(2), /proc shows the signals that it waits for as not blocked, but the kernel
    keeps them pending.
    """
    status = read_status(pid)
    return bool((int(status["SigBlk"], 16) | int(status["SigCgt"], 16)) >> (number - 1) & 1) or waits_for_signal(pid)


def waits_for_signal(pid: int) -> bool:
    """Return whether a process is inside sigtimedwait(2), by which sigwait(3) and sigwaitinfo(2) wait as well."""
    try:
        return "sigtimedwait" in read(f"/proc/{pid}/wchan")
    except OSError:
        return False


def ignores(pid: int, number: int) -> bool:
    """Return whether a process ignores a signal. Raises OSError."""
    return bool(int(read_status(pid)["SigIgn"], 16) >> (number - 1) & 1)


def read_memory(pid: int) -> dict[str, int]:
    """Return the fields of /proc/PID/smaps_rollup in bytes: Rss, Pss, Private_Dirty and others. Raises OSError."""
    fields = {}
    for line in read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * 1024
    return fields


def wait_executed(pid: int, program: str, patience: float = 10.0) -> None:
    """Wait until a child of a process has executed a program: before, the two share pages that are private later."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if any(read_command(child)[:1] == [program] for child in list_children(pid)):
            return
        time.sleep(0.005)


def read_command(pid: int) -> list[str]:
    """Return the command line of a process; [] or [""] if it has ended."""
    try:
        return read(f"/proc/{pid}/cmdline").split("\0")
    except OSError:
        return []


def wait_settled(pid: int, quiet: float = 0.02, patience: float = 10.0) -> bool:
    """Wait until a process has used no CPU for `quiet` seconds; False if it ends or `patience` seconds are over."""
    deadline = time.monotonic() + patience
    before = -1
    while time.monotonic() < deadline:
        try:
            now = read_cpu(pid)
        except OSError:
            return False
        state = read_state(pid)
        if state in ("Z", "X", ""):
            return False
        if now == before and state not in ("R", "D"):
            return True
        before = now
        time.sleep(quiet)
    return False
