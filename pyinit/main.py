"""argv to exit code: choose the personality, then run the supervisor or the pause."""

from __future__ import annotations

import posix
import sys

from .log import Log, write_last_words
from .options import UsageError
from .linux.signals import EntryState, block_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional


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
        try:
            from .linux.output import write_line

            write_line(f"pyinit: unexpected {error!r}")
        except BaseException:
            write_last_words()
    finally:
        posix._exit(code)  # sys.exit() would finalise the interpreter for 1.5 ms; nothing of ours is buffered


def run(arguments: list[str], entry: EntryState, name: str) -> int:
    """Read the command line and do what it asks for; return the exit code."""
    called = arguments[0].rpartition("/")[2]
    if called in PERSONALITIES and name != "pause":  # a launcher of the pause is a pause under any name
        name = called
    arguments = arguments[1:]
    try:
        if arguments and arguments[0].partition("=")[0] == "--as" and PERSONALITIES[name] == "native":
            from .cli.arguments import read_name

            name, arguments = read_name(arguments)
        personality = find_personality(PERSONALITIES[name])
        options = personality.parse(arguments, posix.environ, name)
        if options.reap or b"PYINIT_REAP" in posix.environ:
            from .cli.arguments import set_reaper

            set_reaper(options, posix.environ)
    except UsageError as error:
        from .linux.output import write_line

        write_line(str(error))
        return 1
    if options.show:
        return int(personality.show(options, name))
    log = Log(options.verbosity, personality.PREFIXES, personality.DESCRIPTORS)
    if "__file__" in globals():
        load_all()
    if options.pause:
        from .supervisor.pause import pause

        return pause(options, log)
    from .supervisor.loop import Supervisor

    return Supervisor(options, entry, log).run()


def load_all() -> None:
    """Import what may be needed later: by then an upgrade may have replaced the files.

    Not from a launcher: it keeps its bundle open, from which it reads each module when it is needed, bundle.py.
    """
    from . import messages  # noqa: F401
    from .child import descendants, exec_errors, terminal  # noqa: F401
    from .linux import descriptors, output  # noqa: F401

    try:
        from .linux import prctl  # noqa: F401
    except ImportError:
        pass  # no _ctypes, as with Debian's python3-minimal


def find_personality(module: str) -> Any:
    """The module that reads the command line: parse(), show(), PREFIXES and DESCRIPTORS."""
    name = "pyinit.cli." + module
    __import__(name)
    return sys.modules[name]


def read_arguments() -> list[str]:
    """argv, decoded as UTF-8 with surrogateescape, from which every byte comes back."""
    if sys.getfilesystemencoding() == "utf-8":
        return sys.argv
    from .cli.arguments import read_legacy_arguments

    return read_legacy_arguments()
