"""How tini words what happens: a function an event, each returns a line. The events are native_messages'."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, strsignal

from . import native_messages

DESCRIPTORS = (2, 2, 1, 1)  # where messages go, by level


def __getattr__(event: str):
    """An event that tini has no words for: pyinit's, as a warning of tini's."""
    words = getattr(native_messages, event)
    return lambda *arguments: line("WARN ", words(*arguments).replace("pyinit: ", "").replace("warning: ", ""))


def line(level: str, text: str) -> str:
    """A message in tini's form."""
    return f"[{level} tini ({posix.getpid()})] {text}" if text else ""


def describe(number: int) -> str:
    """What strsignal(3) calls a signal."""
    return strsignal(number) or f"Unknown signal {number}"


def not_adopting() -> str:
    return line("WARN ", "pyinit, called as tini, is neither PID 1 nor registered as a child subreaper.\n"
                         "Orphans are not re-parented to it, so zombie reaping won't work.\n"
                         "Run it as PID 1, or register it with the -s option or the environment variable "
                         "TINI_SUBREAPER.")


def not_forked(name: str, reason: str) -> str:
    return line("FATAL", f"fork failed: {reason}")


def not_executed(name: str, reason: str) -> str:
    return line("FATAL", f"exec {name} failed: {reason}")


def spawned(name: str, pid: int) -> str:
    return line("INFO ", f"Spawned child process '{name}' with pid '{pid}'")


def received(number: int) -> str:
    if not number:
        return ""
    return line("DEBUG", "Received SIGCHLD" if number == SIGCHLD else f"Passing signal: '{describe(number)}'")


def forwarded(number: int) -> str:
    return ""


def reaped(pid: int, status: int, code: int, is_main: bool) -> str:
    return line("DEBUG", f"Reaped child with pid: '{pid}'")


def orphan_reaped(pid: int) -> str:
    return line("WARN ", f"Reaped zombie process with pid={pid}")


def ended(pid: int, status: int, code: int) -> str:
    killed_by = status & 0x7f  # wait(2)
    if killed_by:
        return line("INFO ", f"Main child exited with signal (with signal '{describe(killed_by)}')")
    return line("INFO ", f"Main child exited normally (with status '{code}')")
