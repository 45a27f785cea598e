"""pyinit's own command line: tini 0.19's letters, each with a long name."""

from __future__ import annotations

from ..log import DESCRIPTORS, PREFIXES  # noqa: F401  (pyinit's own)
from ..options import Options, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping


def parse(arguments: list[str], environ: Mapping[bytes, bytes], name: str) -> Options:
    """Return the options of a command line, without argv[0], and an environment. Raises UsageError."""
    try:
        return apply(arguments, environ)
    except UsageError as error:
        from .native_texts import USAGE

        raise UsageError(f"pyinit: {error}\n{USAGE}       pyinit --help") from None


def apply(arguments: list[str], environ: Mapping[bytes, bytes]) -> Options:
    """As parse(), but UsageError has only the reason."""
    options = Options()
    read_environment(options, environ)
    if arguments and (arguments[0] == "--" or arguments[0][:1] != "-"):
        options.command = arguments[1:] if arguments[0] == "--" else arguments
    elif arguments:
        from .native_options import read_command_line

        read_command_line(options, arguments)
    if not (options.command or options.pause or options.show):
        raise UsageError("no command: expected the program that is to run")
    return options


def read_environment(options: Options, environ: Mapping[bytes, bytes]) -> None:
    """Read tini's variables, to which the command line is added. TINI_SUBREAPER has no effect: pyinit always adopts."""
    if b"TINI_KILL_PROCESS_GROUP" in environ:
        options.signal_to = "group"
    verbosity = environ.get(b"TINI_VERBOSITY")
    if verbosity:
        if not verbosity.isdigit() or len(verbosity) > 1:
            text = verbosity.decode("utf-8", "surrogateescape")
            raise UsageError(f"TINI_VERBOSITY '{text}': expected a number from 0 to 9")
        options.verbosity = int(verbosity)


def show(options: Options, name: str) -> int:
    """Print the text that was asked for; return exit code 0, or 1 if stdout does not take it."""
    from .native_texts import TEXTS, print_text

    return print_text(TEXTS[options.show])
