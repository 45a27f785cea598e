"""pyinit's own command line: tini 0.19's letters, each with a long name."""

from __future__ import annotations

from ..options import Options, UsageError
from .getopt import read_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

# Capital letters stand for long options that have no letter: see parse().
SHORT = "sp:ge:wvhl"
LONG = {"subreaper": "s", "parent-death-signal": "p", "group": "g", "remap-exit": "e", "warn-on-reap": "w",
        "verbose": "v", "help": "h", "version": "V", "license": "l", "pause": "P"}
SHOW = {"h": "help", "V": "version", "l": "license"}


def messages():
    """The module that words what happens."""
    from . import native_messages

    return native_messages


def parse(arguments: list[str], environ: Mapping[bytes, bytes], name: str) -> Options:
    """Options from a command line, without argv[0], and an environment. Raises UsageError."""
    try:
        return apply(arguments, environ)
    except UsageError as error:
        from .native_texts import USAGE

        raise UsageError(f"pyinit: {error}\n{USAGE}       pyinit --help") from None


def apply(arguments: list[str], environ: Mapping[bytes, bytes]) -> Options:
    """What parse() does, with the bare reason in UsageError."""
    options = Options()
    read_environment(options, environ)
    pairs, options.command = read_options(arguments, SHORT, LONG)
    for letter, value in pairs:
        if letter in SHOW:
            options.show = SHOW[letter]
            return options
        set_option(options, letter, value)
    if options.pause and options.command:
        raise UsageError(f"--pause takes no command, but got '{options.command[0]}'")
    if not options.pause and not options.command:
        raise UsageError("no command: expected the program that is to run")
    return options


def read_environment(options: Options, environ: Mapping[bytes, bytes]) -> None:
    """tini's variables and pyinit's twins of them, which win; the command line is added to both."""
    for prefix in (b"TINI_", b"PYINIT_"):
        options.subreaper |= prefix + b"SUBREAPER" in environ
        options.group |= prefix + b"KILL_PROCESS_GROUP" in environ
        verbosity = environ.get(prefix + b"VERBOSITY")
        if verbosity:
            options.verbosity = read_number(verbosity.decode("utf-8", "surrogateescape"),
                                            prefix.decode() + "VERBOSITY", 9)


def set_option(options: Options, letter: str, value: str) -> None:
    """Set what one option asks for."""
    if letter == "s":
        options.subreaper = True
    elif letter == "p":
        options.parent_death_signal = read_signal(value, "-p")
    elif letter == "g":
        options.group = True
    elif letter == "e":
        options.remap_exit.add(read_number(value, "-e", 255))
    elif letter == "w":
        options.warn_on_reap = True
    elif letter == "v":
        options.verbosity += 1
    else:
        options.pause = True


def read_number(text: str, what: str, most: int) -> int:
    """A whole number from 0 to `most`. Raises UsageError, which names `what`."""
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= most):
        raise UsageError(f"{what} '{text}': expected a number from 0 to {most}")
    return int(text)


def read_signal(text: str, what: str) -> int:
    """A signal's number. Raises UsageError, which names `what`."""
    from ..signal_names import parse_signal

    try:
        return parse_signal(text)
    except ValueError:
        raise UsageError(f"{what} '{text}': expected a signal, such as TERM, SIGTERM, 15 or RTMIN+3") from None


def show(options: Options, name: str) -> int:
    """Print the text that was asked for; return exit code 0, or 1 when stdout does not take it."""
    from .native_texts import TEXTS, print_text

    return print_text(TEXTS[options.show])
