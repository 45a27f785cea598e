"""Read a JSON document as text: its values, and the position of each; pure.

config.json is edited as text, so that everything unknown here stays as it is: order, spaces, numbers of any size,
duplicate keys, surrogates. The C scanner below the module `json` finds the end of a value; `json` itself costs 10 ms.
"""

from __future__ import annotations

from _json import make_scanner, scanstring

from .odd import Odd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn, Sequence

SPACE = " \t\n\r"


class Value:
    """A value and its place in the text."""

    __slots__ = ("value", "start", "end")

    def __init__(self, value: Any, start: int, end: int) -> None:
        self.value, self.start, self.end = value, start, end


def refuse_constant(name: str) -> NoReturn:
    """Raise ValueError for NaN and Infinity, which the scanner would accept."""
    raise ValueError(f"{name} is no JSON")


def refuse_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object. Raises Odd for a duplicate key: readers differ in which one counts."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Odd("config.json: a key is there twice in one object; expected it once")
    return found


class Loose:
    """How the scanner reads values that no decision depends on. No number is converted: it may be of any size."""

    strict = True
    object_hook = None
    object_pairs_hook: Any = None
    array_hook: Any = None  # since Python 3.15
    parse_float = parse_int = str
    parse_constant = staticmethod(refuse_constant)
    memo: dict[str, str] = {}


class Strict(Loose):
    """How the scanner reads values that the decision depends on."""

    object_pairs_hook = staticmethod(refuse_doubles)


scan_loosely = make_scanner(Loose)
scan_strictly = make_scanner(Strict)


def read_object(text: str, start: int, needed: Sequence[str]) -> tuple[dict[str, Value], int]:
    """Return the members of the object at a position, and the position behind it.

    needed: the keys that the caller depends on. Raises Odd if one of them is there twice, or in other capitals, which
    Go's decoder takes for the same key. Raises ValueError, StopIteration or IndexError if the text is no JSON.
    """
    members: dict[str, Value] = {}
    folded = {key.lower() for key in needed}
    position = skip_space(text, expect(text, start, "{"))
    while text[position] != "}":
        if members:
            position = skip_space(text, expect(text, position, ","))
        key, position = scanstring(text, expect(text, position, '"'), True)
        position = skip_space(text, expect(text, skip_space(text, position), ":"))
        if key.lower() in folded and (key not in needed or key in members):
            raise Odd(f"config.json: the key {key!r} is there twice, or in other capitals; expected it once")
        value, end = (scan_strictly if key in needed else scan_loosely)(text, position)
        members[key] = Value(value, position, end)
        position = skip_space(text, end)
    return members, position + 1


def expect(text: str, position: int, letter: str) -> int:
    """Return the position behind a letter. Raises ValueError if another one is there, IndexError at the end."""
    if text[position] != letter:
        raise ValueError(f"no {letter} at {position}")
    return position + 1


def skip_space(text: str, position: int) -> int:
    """Return the position of the next character that is no white space, or of the end."""
    while text[position:position + 1] in SPACE and position < len(text):
        position += 1
    return position


def read_config(text: str, needed: Sequence[str]) -> dict[str, Value]:
    """Return the members of a document that consists of one object. Raises Odd."""
    try:
        members, end = read_object(text, skip_space(text, 0), needed)
    except (ValueError, StopIteration, IndexError, RecursionError):
        raise Odd("config.json: expected a JSON object") from None
    if skip_space(text, end) < len(text):
        raise Odd("config.json: expected nothing behind the JSON object")
    return members
