"""Read options as getopt_long(3) does, with its messages. The standard library's getopt would import gettext."""

from __future__ import annotations

from ..options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping


def read_options(arguments: list[str], short: str, long: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split a command line, without argv[0], into (letter, value) pairs and the rest.

    `short` is as for getopt(3): the letters, each followed by a colon if it takes a value. `long` maps long names to
    letters or to names of their own, followed by a colon if they take a value, and by two if they may: `--name=VALUE`.
    The user may abbreviate a long name if that is not ambiguous. Parsing stops at the first argument that is not an
    option, after `--`, or at a mistake. For a mistake, the last pair is ("?", getopt's message), after the pairs of
    the options in front of it.
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
    """Read one long option: `--name`, `--name VALUE` or `--name=VALUE`. Remove VALUE from `rest`. Raises UsageError."""
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
    """Read the letters behind one dash into `options`. A value may be joined to its letter. Raises UsageError."""
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
