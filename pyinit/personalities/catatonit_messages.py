"""How catatonit words what happens: a function an event, each returns a line. The events are native_messages'."""

from __future__ import annotations

import posix

DESCRIPTORS = (2, 2, 2, 2)  # where messages go, by level


def __getattr__(event: str):
    """An event that catatonit has no words for: pyinit's, as a warning of catatonit's."""
    from . import native_messages

    words = getattr(native_messages, event)
    return lambda *arguments: line("WARN", words(*arguments).replace("pyinit: ", "").replace("warning: ", ""))


def line(level: str, text: str) -> str:
    """A message in catatonit's form."""
    return f"{level} (catatonit:{posix.getpid()}): {text}" if text else ""


def not_forked(name: str, reason: str) -> str:
    return line("ERROR", f"failed to fork child: {reason}")


def not_executed(name: str, reason: str) -> str:
    return line("ERROR", f"failed to exec pid1: {reason}")


def spawned(name: str, pid: int) -> str:
    return line("DEBUG", f"pid1 ({pid}) spawned: {name}")


def forwarded(number: int) -> str:
    return ""


def reaped(pid: int, status: int, code: int, is_main: bool) -> str:
    killed_by = status & 0x7f  # wait(2)
    if is_main:
        return ""
    return line("DEBUG", f"child process {pid} exited due to signal {killed_by}" if killed_by
                else f"child process {pid} exited with code {code}")


def ended(pid: int, status: int, code: int) -> str:
    return ""
