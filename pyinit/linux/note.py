"""Read the note in which the stub of a launcher, lean/stub.py, writes down the state that it was started with."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, SIGINT, SIGPIPE, SIGXFSZ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

# The signals whose disposition a note has, in the order of their bits.
DISPOSITIONS = (SIGPIPE, SIGXFSZ, SIGINT, SIGCHLD)
# Hexadecimal digits: one number of 8 bytes, then five of 4 bytes, the lowest byte first.
SIZE = 2 * 28


class Note:
    """The content of a note."""

    __slots__ = ("name", "mask", "ignored", "locale", "launcher", "count", "behind", "path")

    def __init__(self, name: str, mask: int, ignored: tuple[int, ...], locale: Optional[bytes],
                 launcher: Optional[bytes], count: int, behind: int, path: str) -> None:
        self.name = name  # the name that the launcher was written under
        self.mask = mask  # bit N - 1 for signal N
        self.ignored = ignored  # which of DISPOSITIONS were ignored
        self.locale = locale  # the value of LC_CTYPE, None if it was not set
        self.launcher = launcher  # the value of __PYVENV_LAUNCHER__, None if it was not set
        self.count = count  # how many entries the environment had
        self.behind = behind  # how many of them were behind __PYVENV_LAUNCHER__
        self.path = path  # the path that the launcher was executed by

    def blocked(self, signals: tuple[int, ...]) -> set[int]:
        """Return which of these signals were blocked."""
        return {number for number in signals if self.mask >> number - 1 & 1}


def read_note(text: str) -> Note:
    """Read a note, decoded as UTF-8 with surrogateescape. Raises ValueError if the text is no note."""
    name, sign, rest = text.partition(":")
    digits, values = bytes.fromhex(rest[:SIZE]), rest[SIZE:].encode("utf-8", "surrogateescape")
    if not sign or 2 * len(digits) != SIZE:
        raise ValueError
    mask, bits, locale_end, length, size, size_behind = [
        int.from_bytes(digits[start:end], "little")
        for start, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 24), (24, 28))]
    # A length is one more than that of the value, and 0 without a value.
    locale = values[:locale_end - 1] if locale_end else None
    values = values[locale_end - 1:] if locale_end else values
    launcher = values[:length - 1] if length else None
    values = values[length - 1:] if length else values
    ignored = tuple(number for place, number in enumerate(DISPOSITIONS) if bits >> place & 1)
    # The sizes are in bytes: eight for each entry, and eight for the end.
    return Note(name, mask, ignored, locale, launcher, size // 8 - 1, size_behind // 8 - 1,
                values.decode("utf-8", "surrogateescape"))


def name_process(path: str) -> None:
    """Name the process after the launcher, as the kernel does for a script, and not after the interpreter: proc(5)."""
    try:
        descriptor = posix.open("/proc/self/comm", posix.O_WRONLY | posix.O_CLOEXEC)
        try:
            posix.write(descriptor, path.rpartition("/")[2].encode("utf-8", "surrogateescape"))
        finally:
            posix.close(descriptor)
    except OSError:
        pass  # no /proc, or a read-only one
