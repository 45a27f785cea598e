"""Statistics about what pyinit has done, as one line of JSON; loaded when asked for."""

from __future__ import annotations

import json
import posix
from time import monotonic

from ..linux.files import read_file
from ..linux.output import consume_own_signal, write_line
from ..child.descendants import has_own_proc
from .reaper import WaitReaper, exit_code
from ..linux.signal_names import signal_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Optional

    from .reaper import Report

MOST_COMMANDS = 10
ANY = -1  # waitpid(2): any child


class CountingReaper(WaitReaper):
    """A waitpid loop that looks at each zombie before reaping it, and counts."""

    __slots__ = ("orphans", "drained", "most", "commands")

    def __init__(self, report: Report) -> None:
        super().__init__(report)
        self.orphans = 0
        self.drained = 0
        self.most = 0
        self.commands: dict[str, int] = {}

    def drain(self) -> Optional[int]:
        """As WaitReaper.drain()."""
        if not self.unfinished:
            self.drained = 0
        status = super().drain()
        self.most = max(self.most, self.drained)
        return status

    def reap_one(self) -> tuple[int, int]:
        """As WaitReaper.reap_one(), and count."""
        pid = 0
        while not pid:  # a child that was stopped may have been continued between the two calls
            found, command = self.look_at_zombie()
            if not found:
                return 0, 0
            pid, status = posix.waitpid(found, self.flags)
            if found == ANY and not pid:
                return 0, 0
        if not posix.WIFSTOPPED(status):
            self.drained += 1
            if pid != self.main_child:
                self.orphans += 1
                self.commands[command] = self.commands.get(command, 0) + 1
        return pid, status

    def look_at_zombie(self) -> tuple[int, str]:
        """Return the PID and the name of the next zombie, or (0, "") without one. Raises ChildProcessError.

        If a sandbox refuses waitid(2), the next zombie cannot be known: return (ANY, "?").
        """
        # WNOWAIT leaves the zombie, and with it its name, waitid(2).
        look = posix.WEXITED | posix.WNOHANG | posix.WNOWAIT
        for flags in (look | self.flags, look):  # EINVAL: waitid(2) takes no __WALL before Linux 4.7
            try:
                found = posix.waitid(posix.P_ALL, 0, flags)
            except ChildProcessError:
                raise
            except OSError:
                continue
            return (found.si_pid, read_command(found.si_pid)) if found else (0, "")
        return ANY, "?"


def read_command(pid: int) -> str:
    """Return the name of a process, which a zombie keeps, proc(5), or "?" if /proc does not show it."""
    if not has_own_proc():  # checked each time: /proc may be mounted while pyinit runs
        return "?"
    try:
        return read_file(f"/proc/{pid}/comm").decode("utf-8", "backslashreplace").rstrip("\n")
    except OSError:
        return "?"


class Stats:
    """Collects the statistics, and writes them to the place that the user asked for."""

    __slots__ = ("where", "reaper", "started")

    def __init__(self, where: str, reaper: WaitReaper) -> None:
        """where is a file to append to, or "" or "-" for stderr."""
        self.where = where
        self.reaper = reaper
        self.started = monotonic()

    def write(self, main_child: int, status: Optional[int], sent: Mapping[int, int]) -> None:
        """Write one line. Raises nothing if it cannot be written. `sent` counts the forwarded signals by number."""
        counted = self.reaper if isinstance(self.reaper, CountingReaper) else None
        line = json.dumps({
            "uptime_seconds": round(monotonic() - self.started, 3),
            "orphans_reaped": counted.orphans if counted else None,
            "most_zombies_in_one_drain": counted.most if counted else None,
            "signals_forwarded": {signal_name(number): count for number, count in sorted(sent.items())},
            "main_child": {"pid": main_child, "exit_code": None if status is None else exit_code(status),
                           "signal": signal_name(status & 0x7f) if status is not None and 0 < status & 0x7f < 0x7f
                           else None},
            "orphans_by_command": top(counted.commands) if counted else None,
        })
        if self.where in ("", "-"):
            write_line(line)
        else:
            append_line(self.where, line)


def top(commands: Mapping[str, int]) -> dict[str, int]:
    """Return the MOST_COMMANDS commands with the most orphans, in falling order."""
    return dict(sorted(commands.items(), key=lambda item: (-item[1], item[0]))[:MOST_COMMANDS])


def append_line(path: str, line: str) -> None:
    """Append a line to a file, or say on stderr why it cannot be done."""
    try:
        # O_NONBLOCK: waiting for the reader of a pipe would delay the reaping.
        flags = posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC | posix.O_NONBLOCK | posix.O_NOCTTY
        descriptor = posix.open(path, flags, 0o644)
        try:
            posix.write(descriptor, line.encode() + b"\n")
        finally:
            posix.close(descriptor)
    except OSError as error:
        consume_own_signal(error)
        write_line(f"pyinit: warning: cannot write the statistics to {path}: {error.strerror}: {line}")
