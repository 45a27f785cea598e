"""Parse and format numbers and durations, and make text from processes safe to print; pure."""

from __future__ import annotations

import re

UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}

YEAR = 365 * UNITS["d"]

NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
PATTERN = re.compile("".join(f"(?:{NUMBER}{unit})?" for unit in UNITS))


def parse_count(text: str) -> int:
    """Parse a whole number in decimal digits. Raises ValueError."""
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


def parse_number(text: str) -> float:
    """Parse a number such as `90` or `1.5`. Raises ValueError."""
    if not re.fullmatch(NUMBER, text):
        raise ValueError(text)
    return float(text)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `90`, `90s`, `1.5h`, `1h30m` or `2d`. Raises ValueError."""
    if re.fullmatch(NUMBER, text):
        return float(text)
    match = PATTERN.fullmatch(text)
    if not text or not match:
        raise ValueError(text)
    return sum(float(number) * seconds for number, seconds in zip(match.groups(), UNITS.values()) if number)


def format_duration(seconds: float) -> str:
    """Return the two largest units of a duration, as in `49m10s`, `3h` or `2d4h`."""
    if seconds > YEAR * 1000:
        return "over 1000 years"
    rest = round(seconds)
    words: list[tuple[int, str]] = []
    for unit, size in UNITS.items():
        count, rest = divmod(rest, size)
        if words or count or unit == "s":
            words.append((count, unit))
    return "".join(f"{count}{unit}" for count, unit in words[:2] if count or len(words) == 1)


def printable(text: str) -> str:
    """Escape the characters in text from a process that could move a cursor or break a line."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
