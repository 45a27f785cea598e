"""The way in: which personality reads the command line, then the supervisor or the pause, and the exit."""

from __future__ import annotations

import posix
import sys

from .log import Log
from .options import Options, UsageError
from .signals import EntryState, block_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional


def main(entry_mask: Optional[set[int]] = None, name: str = "") -> NoReturn:
    """Run pyinit and exit with its exit code.

    entry_mask is what was blocked before a launcher blocked everything; name chooses a personality, else it is the
    base name of argv[0].
    """
    code = 1
    try:
        if entry_mask is None:
            entry_mask = block_signals()
        code = run(read_arguments(), EntryState(entry_mask), name)
    except BaseException as error:
        Log("pyinit", 0).fatal(f"unexpected {error!r}")
    finally:
        posix._exit(code)  # sys.exit() would finalise the interpreter for 1.5 ms; nothing of ours is buffered


def run(arguments: list[str], entry: EntryState, name: str) -> int:
    """Read the command line and do what it asks for; return the exit code."""
    personality = find_personality(name or arguments[0].rpartition("/")[2])
    try:
        options = personality.parse(arguments[1:], posix.environ)
    except UsageError as error:
        return personality.refuse(str(error))
    if options.show:
        return personality.show(options)
    log = Log(options.name, options.verbosity)
    if options.pause:
        from .pause import pause

        return pause(log)
    from .supervise import supervise

    return supervise(options, entry, log)


def find_personality(name: str):
    """The module that reads the command line for a program of that name."""
    if name == "pause":
        from .personalities import pause

        return pause
    from .personalities import native

    return native


def read_arguments() -> list[str]:
    """argv, decoded as UTF-8 with surrogateescape, from which every byte comes back.

    CPython decodes by the locale, and the legacy multibyte ones do not round-trip: there the kernel's copy is read.
    """
    if sys.getfilesystemencoding() != "utf-8":
        from .spawn import read_file

        try:
            everything = read_file("/proc/self/cmdline").decode("utf-8", "surrogateescape").split("\0")[:-1]
            return [sys.argv[0], *everything[len(everything) - len(sys.argv) + 1:]]
        except OSError:
            encoding = sys.getfilesystemencoding()
            return [argument.encode(encoding, "surrogateescape").decode("utf-8", "surrogateescape")
                    for argument in sys.argv]
    return sys.argv
