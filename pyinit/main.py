"""The way in: which personality reads the command line, then the supervisor or the pause, and the exit."""

from __future__ import annotations

import posix
import sys

from .files import read_file
from .log import Log, write_last_words
from .options import Options, UsageError
from .signals import EntryState, block_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, NoReturn, Optional


# Base names of argv[0] and what they are called for; any other is the name that the launcher was written under.
PERSONALITIES = {"pyinit": "native", "tini": "tini", "tini-static": "tini", "docker-init": "tini", "init": "tini",
                 "dumb-init": "dumb_init", "catatonit": "catatonit", "pause": "pause"}


def main(entry_mask: Optional[set[int]] = None, name: str = "pyinit") -> NoReturn:
    """Run pyinit and exit with its exit code.

    entry_mask is what was blocked before a launcher blocked everything; name is what pyinit is when the base name of
    argv[0] does not say.
    """
    code = 1
    try:
        if entry_mask is None:
            entry_mask = block_signals()
        code = run(read_arguments(), EntryState(entry_mask), name)
    except MemoryError:
        write_last_words()
    except BaseException as error:
        from .lines import write_line

        write_line(f"pyinit: unexpected {error!r}")
    finally:
        posix._exit(code)  # sys.exit() would finalise the interpreter for 1.5 ms; nothing of ours is buffered


def run(arguments: list[str], entry: EntryState, name: str) -> int:
    """Read the command line and do what it asks for; return the exit code."""
    called = arguments[0].rpartition("/")[2]
    if called in PERSONALITIES and name != "pause":  # a launcher of the pause is one under any name
        name = called
    arguments = arguments[1:]
    try:
        if arguments and arguments[0].startswith("--as"):
            name, arguments = read_name(arguments)
        personality = find_personality(PERSONALITIES[name])
        options = personality.parse(arguments, posix.environ, name)
        set_reaper(options, posix.environ)
    except UsageError as error:
        from .lines import write_line

        write_line(str(error))
        return 1
    if options.show:
        return personality.show(options, name)
    log = Log(options.verbosity, personality.messages)
    if options.pause:
        from .pause import pause

        return pause(log, options.reap == "kernel")
    from .supervise import supervise

    return supervise(options, entry, log)


def set_reaper(options: Options, environ: Mapping[bytes, bytes]) -> None:
    """How to reap, for every personality: the command line, else PYINIT_REAP. Raises UsageError."""
    what = "--reap" if options.reap else "PYINIT_REAP"
    options.reap = options.reap or environ.get(b"PYINIT_REAP", b"").decode("utf-8", "surrogateescape")
    if options.reap not in ("", "wait", "kernel"):
        raise UsageError(f"pyinit: {what} '{options.reap}': expected wait or kernel")


def read_name(arguments: list[str]) -> tuple[str, list[str]]:
    """`--as NAME` or `--as=NAME` in front of everything else: the name, and the arguments behind. Raises UsageError."""
    option, sign, name = arguments[0].partition("=")
    rest = arguments[1:]
    if not sign:
        name, rest = "".join(rest[:1]), rest[1:]
    if option != "--as" or name not in PERSONALITIES:
        raise UsageError(f"pyinit: {option} '{name}': expected --as and one of {', '.join(PERSONALITIES)}")
    return name, rest


def find_personality(module: str):
    """The module that reads the command line."""
    if module == "native":
        from .personalities import native as personality
    elif module == "tini":
        from .personalities import tini as personality
    elif module == "dumb_init":
        from .personalities import dumb_init as personality
    elif module == "catatonit":
        from .personalities import catatonit as personality
    else:
        from .personalities import pause as personality
    return personality


def read_arguments() -> list[str]:
    """argv, decoded as UTF-8 with surrogateescape, from which every byte comes back.

    CPython decodes by the locale, and the legacy multibyte ones do not round-trip: there the kernel's copy is read.
    """
    if sys.getfilesystemencoding() != "utf-8":
        try:
            everything = read_file("/proc/self/cmdline").decode("utf-8", "surrogateescape").split("\0")[:-1]
            return [sys.argv[0], *everything[len(everything) - len(sys.argv) + 1:]]
        except OSError:
            encoding = sys.getfilesystemencoding()
            return [argument.encode(encoding, "surrogateescape").decode("utf-8", "surrogateescape")
                    for argument in sys.argv]
    return sys.argv
