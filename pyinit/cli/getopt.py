"""Options read as getopt_long(3) reads them, with its messages; the standard library's getopt imports gettext."""

from __future__ import annotations

from ..options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping


def read_options(arguments: list[str], short: str, long: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split a command line, without argv[0], into (letter, value) pairs and the rest.

    `short` is as for getopt(3): the letters, a colon behind each that takes a value. `long` maps long names, which may
    be cut short where that is clear, to letters or to names of their own, with a colon if they take a value, and with
    two if they may: `--name=VALUE`. Parsing stops at the first argument that is not an option, after `--`, or at a
    mistake, for which the last pair is ("?", getopt's message): what stands in front of it comes first.
    """
    options = []
    rest = list(arguments)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        argument = rest.pop(0)
        if argument == "--":
            break
        try:
            if argument.startswith("--") and long:
                options.append(read_long(argument, long, rest))
            else:
                read_short(argument, short, rest, options)
        except UsageError as error:
            options.append(("?", str(error)))
            break
    return options, rest


def read_long(argument: str, long: Mapping[str, str], rest: list[str]) -> tuple[str, str]:
    """One long option: `--name`, `--name VALUE` or `--name=VALUE`."""
    given, sign, value = argument[2:].partition("=")
    names = [given] if given in long else [name for name in long if name.startswith(given)]
    if not names:
        raise UsageError(f"unrecognized option '{argument}'")
    if len(names) > 1:
        raise UsageError(f"option '{argument}' is ambiguous; possibilities:"
                         + "".join(f" '--{name}'" for name in names))
    key = long[names[0]]
    if key.endswith("::"):
        return key[:-2], value
    if key.endswith(":"):
        if not sign and not rest:
            raise UsageError(f"option '--{names[0]}' requires an argument")
        return key[:-1], value if sign else rest.pop(0)
    if sign:
        raise UsageError(f"option '--{names[0]}' doesn't allow an argument")
    return key, ""


def read_short(argument: str, short: str, rest: list[str], options: list[tuple[str, str]]) -> None:
    """The letters behind one dash; a value may be joined to its letter."""
    for position, letter in enumerate(argument[1:], 2):
        if letter == ":" or letter not in short:
            raise UsageError(f"invalid option -- '{letter}'")
        if letter + ":" not in short:
            options.append((letter, ""))
            continue
        value = argument[position:]
        if not value:
            if not rest:
                raise UsageError(f"option requires an argument -- '{letter}'")
            value = rest.pop(0)
        options.append((letter, value))
        return
