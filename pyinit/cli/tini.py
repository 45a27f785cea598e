"""tini 0.19, also as docker-init, tini-static and init: its command line, environment and messages."""

from __future__ import annotations

import posix

from ..options import Options, UsageError
from . import read_options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

# People search their logs for tini's messages: these are their prefixes, and the descriptors that tini writes them to.
PREFIXES = ("[FATAL tini ({pid})] ", "[WARN  tini ({pid})] ", "[INFO  tini ({pid})] ", "[DEBUG tini ({pid})] ")
DESCRIPTORS = (2, 2, 1, 1)


def parse(arguments: list[str], environ: Mapping[bytes, bytes], name: str) -> Options:
    """Return the options of a command line, without argv[0], and an environment. Raises UsageError.

    tini's own parser moves options behind the command's first word to the front; this one stops at that word.
    """
    if arguments == ["--version"]:
        return Options(show="version")
    options = Options(subreaper=False, warn_not_adopting=True)
    pairs, options.command = read_options(arguments, "hvwgle:sp:", {})
    for letter, value in pairs:
        if letter == "?":
            raise UsageError(f"{name}: {value}\n{usage(name)}")
        if letter in "hl":
            options.show = "help" if letter == "h" else "license"
            return options
        set_option(options, letter, value)
    if not options.command:
        raise UsageError(usage(name))
    read_environment(options, environ)
    return options


def set_option(options: Options, letter: str, value: str) -> None:
    """Set what one option asks for. Raises UsageError."""
    if letter == "s":
        options.subreaper = True
    elif letter == "g":
        options.signal_to = "group"
    elif letter == "w":
        options.warn_on_reap = True
    elif letter == "v":
        options.verbosity += 1
    elif letter == "p":
        from ..linux.signal_names import parse_signal

        try:
            options.parent_death_signal = parse_signal(value)
        except ValueError:
            raise bad_value(letter, value) from None
    elif letter == "e":
        if not (value.isascii() and value.isdigit() and len(value) < 9 and int(value) < 256):
            raise bad_value(letter, value)
        options.remap_exit |= {int(value)}


def read_environment(options: Options, environ: Mapping[bytes, bytes]) -> None:
    """Read tini's variables. TINI_VERBOSITY overrides -v, as in tini."""
    options.subreaper |= b"TINI_SUBREAPER" in environ
    if b"TINI_KILL_PROCESS_GROUP" in environ:
        options.signal_to = "group"
    if b"TINI_VERBOSITY" in environ:
        options.verbosity = atoi(environ[b"TINI_VERBOSITY"])


def atoi(text: bytes) -> int:
    """Return the number at the start of a text as atoi(3) does, or 0 without one."""
    text = text.lstrip()
    digits = text.lstrip(b"+-")[:9]
    while digits and not digits.isdigit():
        digits = digits[:-1]
    return int(digits or b"0") * (-1 if text.startswith(b"-") else 1)


def bad_value(letter: str, value: str) -> UsageError:
    """Return the error for an option's value."""
    return UsageError(f"[FATAL tini ({posix.getpid()})] Not a valid option for -{letter}: {value}")


def usage(name: str) -> str:
    """Return tini's usage, which it prints for a wrong command line."""
    from .tini_texts import usage

    return usage(name)


def show(options: Options, name: str) -> int:
    """Print the text that was asked for; return the exit code."""
    from . import tini_texts
    from .native_texts import LICENSE, print_text

    if options.show == "license":
        return print_text(LICENSE)
    return print_text(tini_texts.VERSION if options.show == "version" else tini_texts.usage(name))
