"""pyinit's own command line: tini 0.19's letters, each with a long name."""

from __future__ import annotations

from ..options import Options, UsageError
from .getopt import read_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

SHORT = "sp:ge:wvhl"
LONG = {"subreaper": "s", "parent-death-signal": "p:", "group": "g", "remap-exit": "e:", "warn-on-reap": "w",
        "verbose": "v", "help": "h", "version": "version", "license": "l", "pause": "pause", "reap": "reap:",
        "signal-to": "signal-to:", "rewrite": "rewrite:", "grace": "grace:", "wait-all": "wait-all",
        "kill-after": "kill-after:", "stop-signal": "stop-signal:", "ok-on-stop": "ok-on-stop", "stats": "stats::",
        "stats-signal": "stats-signal:"}
SHOW = {"h": "help", "version": "version", "l": "license"}


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
        if prefix + b"KILL_PROCESS_GROUP" in environ:
            options.signal_to = "group"
        verbosity = environ.get(prefix + b"VERBOSITY")
        if verbosity:
            options.verbosity = read_number(verbosity.decode("utf-8", "surrogateescape"),
                                            prefix.decode() + "VERBOSITY", 9)


def set_option(options: Options, key: str, value: str) -> None:
    """Set what one option asks for."""
    if key == "s":
        options.subreaper = True
    elif key == "p":
        options.parent_death_signal = read_signal(value, "-p")
    elif key == "g":
        options.signal_to = "group"
    elif key == "e":
        options.remap_exit.add(read_number(value, "-e", 255))
    elif key == "w":
        options.warn_on_reap = True
    elif key == "v":
        options.verbosity += 1
    elif key == "pause":
        options.pause = True
    elif key == "reap":
        options.reap = value  # looked at by main, with PYINIT_REAP
    else:
        from .native_more import set_option

        set_option(options, key, value)


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
