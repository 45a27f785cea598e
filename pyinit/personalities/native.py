"""pyinit's own command line: tini 0.19's letters, each with a long name."""

from __future__ import annotations

from ..options import Options, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

LONG = {"subreaper": "s", "parent-death-signal": "p", "group": "g", "remap-exit": "e", "warn-on-reap": "w",
        "verbose": "v", "help": "h", "version": "V", "license": "l", "pause": "P"}
WITH_VALUE = "pe"


def parse(arguments: list[str], environ: Mapping[bytes, bytes]) -> Options:
    """Options from a command line, without argv[0], and an environment. Raises UsageError."""
    options = Options()
    read_environment(options, environ)
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if argument == "--":
            break
        if argument.startswith("--"):
            read_long(options, argument, rest)
        else:
            read_short(options, argument, rest)
        if options.show:
            return options
    options.command = rest
    if options.pause:
        if rest:
            raise UsageError(f"--pause takes no command, but got {rest[0]}")
    elif not rest:
        raise UsageError("no command: expected the program that is to run")
    return options


def read_environment(options: Options, environ: Mapping[bytes, bytes]) -> None:
    """tini's variables and pyinit's twins of them, which win; the command line is added to both."""
    for prefix in (b"TINI_", b"PYINIT_"):
        options.subreaper |= prefix + b"SUBREAPER" in environ
        options.group |= prefix + b"KILL_PROCESS_GROUP" in environ
        value = environ.get(prefix + b"VERBOSITY")
        if value:
            name, text = (prefix + b"VERBOSITY").decode(), value.decode("utf-8", "surrogateescape")
            options.verbosity = read_number(text, name, 9)


def read_long(options: Options, argument: str, rest: list[str]) -> None:
    """One long option, `--name`, `--name VALUE` or `--name=VALUE`."""
    name, sign, value = argument[2:].partition("=")
    letter = LONG.get(name)
    if letter is None:
        raise UsageError(f"unknown option --{name}")
    if letter in WITH_VALUE:
        set_value(options, letter, value if sign else next_value(argument, rest), f"--{name}")
    elif sign:
        raise UsageError(f"--{name} takes no value, but got {value!r}")
    else:
        set_flag(options, letter)


def read_short(options: Options, argument: str, rest: list[str]) -> None:
    """One or more letters behind a dash; a value may be joined to its letter."""
    for position, letter in enumerate(argument[1:], 2):
        if letter not in LONG.values() or letter.isupper():  # -V and -P stand for long names that have no letter
            raise UsageError(f"unknown option -{letter}" + (f" in {argument}" if len(argument) > 2 else ""))
        if letter in WITH_VALUE:
            set_value(options, letter, argument[position:] or next_value(f"-{letter}", rest), f"-{letter}")
            return
        set_flag(options, letter)


def next_value(option: str, rest: list[str]) -> str:
    """The argument behind an option."""
    if not rest:
        raise UsageError(f"{option} needs a value")
    return rest.pop(0)


def set_flag(options: Options, letter: str) -> None:
    """Set what an option without a value asks for."""
    if letter == "s":
        options.subreaper = True
    elif letter == "g":
        options.group = True
    elif letter == "w":
        options.warn_on_reap = True
    elif letter == "v":
        options.verbosity += 1
    elif letter == "P":
        options.pause = True
    else:
        options.show = {"h": "help", "V": "version", "l": "license"}[letter]


def set_value(options: Options, letter: str, text: str, option: str) -> None:
    """Set what an option with a value asks for."""
    if letter == "e":
        options.remap_exit.add(read_number(text, option, 255))
        return
    from ..signal_names import parse_signal

    try:
        options.parent_death_signal = parse_signal(text)
    except ValueError:
        raise UsageError(f"{option} {text!r}: expected a signal, such as TERM, SIGTERM, 15 or RTMIN+3") from None


def read_number(text: str, what: str, most: int) -> int:
    """A whole number from 0 to `most`. Raises UsageError, which names `what`."""
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= most):
        raise UsageError(f"{what} {text!r}: expected a number from 0 to {most}")
    return int(text)


def refuse(problem: str) -> int:
    """Say what was wrong with the command line, and the usage; return exit code 1."""
    from .native_texts import USAGE
    from ..log import write_line

    write_line(f"pyinit: {problem}\n{USAGE}       pyinit --help")
    return 1


def show(options: Options) -> int:
    """Print the text that was asked for; return exit code 0, or 1 when stdout does not take it."""
    from . import native_texts

    return native_texts.show(options.show)
