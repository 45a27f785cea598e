"""catatonit 0.1.7: its command line, environment and messages."""

from __future__ import annotations

import posix

from ..log import DEBUG, DESCRIPTORS  # noqa: F401
from ..options import Options, UsageError
from . import read_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

USAGE = "usage: catatonit [-ghLPV] [--] <progname> [<arguments>...]"
SHOW = {"h": "help", "L": "license", "V": "version"}

PREFIXES = ("ERROR (catatonit:{pid}): ", "WARN (catatonit:{pid}): ", "INFO (catatonit:{pid}): ",
            "DEBUG (catatonit:{pid}): ")


def parse(arguments: list[str], environ: Mapping[bytes, bytes], name: str) -> Options:
    """Return the options of a command line, without argv[0], and an environment. Raises UsageError."""
    options = Options(update_listen_pid=True, exit_codes=(1, 1, 1), announce=False, change_directory=True,
                      close_descriptors=True)
    if b"CATATONIT_DEBUG" in environ:
        options.verbosity = DEBUG
    pairs, options.command = read_options(arguments, "ghLPV", {"version": "V"})
    for letter, value in pairs:
        if letter == "?":
            raise UsageError(f"catatonit: {value}\n{USAGE}")
        if letter in SHOW:
            options.show = SHOW[letter]
            return options
        if letter == "g":
            options.signal_to = "group"
        else:
            options.pause = True
    if not options.command and not options.pause:
        raise UsageError(f"ERROR (catatonit:{posix.getpid()}): missing program name\n{USAGE}")
    return options


def show(options: Options, name: str) -> int:
    """Print the text that was asked for; return the exit code."""
    from .. import __version__
    from .native_texts import LICENSE, print_text

    if options.show == "help":
        from .catatonit_texts import HELP

        return print_text(f"{USAGE}\n{HELP}", 2)
    # podman reads the first words of the version.
    return print_text(LICENSE if options.show == "license" else f"tini version 0.1.7_catatonit - pyinit {__version__}")
