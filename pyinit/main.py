"""argv to exit code: choose the personality, then run the supervisor or the pause."""

from __future__ import annotations

import posix
import sys

from .log import Log, write_last_words
from .options import UsageError
from .linux.signals import WAITED, EntryState, block_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Optional

    from .linux.note import Note

# The personality for each base name of argv[0]. Under any other base name, a launcher is what it was written as.
PERSONALITIES = {"pyinit": "native", "tini": "tini", "tini-static": "tini", "docker-init": "tini", "init": "tini",
                 "dumb-init": "dumb_init", "catatonit": "catatonit", "pause": "pause"}


def main(entry_mask: Optional[set[int]] = None, name: str = "pyinit", noted: bool = False) -> NoReturn:
    """Run pyinit and exit with its exit code.

    entry_mask holds the signals that were blocked before a launcher blocked all of them. name is a key of PERSONALITIES
    that counts if the base name of argv[0] is none of them. If `noted`, a launcher's stub has put both and more into a
    note in front of the arguments.
    """
    code = 1
    try:
        if entry_mask is None and not noted:
            entry_mask = block_signals()
        arguments = read_arguments()
        note = take_note(arguments) if noted else None
        if note:
            entry_mask, name = note.blocked(WAITED), note.name
        code = run(arguments, EntryState(block_signals() if entry_mask is None else entry_mask, note), name)
    except MemoryError:
        write_last_words()
    except BaseException as error:
        try:
            from .linux.output import write_line

            write_line(f"pyinit: unexpected {error!r}")
        except BaseException:
            write_last_words()
    finally:
        posix._exit(code)  # sys.exit() would finalise the interpreter for 1.5 ms; pyinit has nothing buffered


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


def take_note(arguments: list[str]) -> Optional[Note]:
    """Remove the stub's note from the arguments, so that they are those of a script, and return it. Return None without
    a note: then a person has executed the bundle itself.
    """
    from .linux.note import name_process, read_note

    try:
        note = read_note(arguments[1])
    except (IndexError, ValueError):
        return None
    arguments[:2] = [note.path]
    name_process(note.path)
    return note


def load_all() -> None:
    """Import what may be needed later: by then an upgrade may have replaced the files.

    A launcher does not call this: it keeps its bundle open and reads each module from it when needed, bundle.py.
    """
    from . import messages  # noqa: F401
    from .child import descendants, exec_errors, terminal  # noqa: F401
    from .linux import descriptors, output  # noqa: F401

    try:
        from .linux import prctl  # noqa: F401
    except ImportError:
        pass  # no _ctypes, as with Debian's python3-minimal


def find_personality(module: str) -> Any:
    """Return the module that reads the command line: it has parse(), show(), PREFIXES and DESCRIPTORS."""
    name = "pyinit.cli." + module
    __import__(name)
    return sys.modules[name]


def read_arguments() -> list[str]:
    """Return argv, decoded as UTF-8 with surrogateescape, so that encoding it gives back every byte."""
    if sys.getfilesystemencoding() == "utf-8":
        return sys.argv
    from .cli.arguments import read_legacy_arguments

    return read_legacy_arguments()
