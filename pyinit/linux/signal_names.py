"""Signal names and numbers, loaded only when one is read or shown."""

from __future__ import annotations

import _signal

# Second names, which are read but not shown.
ALIASES = ("SIGCLD", "SIGIOT", "SIGPOLL")


def parse_signal(text: str) -> int:
    """Return the number of a signal given as name (with SIG or without, in any case), number, RTMIN+n or RTMAX-n.

    Raises ValueError if there is no such signal.
    """
    if not text.isascii():  # upper() makes an S of U+017F
        raise ValueError(text)
    name = text.strip().upper()
    if name.startswith("SIG"):
        name = name[3:]
    base, sign, offset = name.partition("+")
    if not sign:
        base, sign, offset = name.partition("-")
    if name.isdigit():
        number = int(name)
    elif base in ("RTMIN", "RTMAX") and (not sign or offset.isdigit()):
        number = getattr(_signal, "SIG" + base) + int(sign + (offset or "0"))
        if not _signal.SIGRTMIN <= number <= _signal.SIGRTMAX:
            raise ValueError(text)
    else:
        number = getattr(_signal, "SIG" + name, 0) if name.isalnum() else 0
    if number not in _signal.valid_signals():
        raise ValueError(text)
    return number


def signal_name(number: int) -> str:
    """Return SIGTERM for 15, SIGRTMIN+n for the real-time signals, and the number itself if it has no name."""
    if _signal.SIGRTMIN < number < _signal.SIGRTMAX:
        return f"SIGRTMIN+{number - _signal.SIGRTMIN}"
    for name, value in vars(_signal).items():
        if value == number and name.startswith("SIG") and not name.startswith("SIG_") and name not in ALIASES:
            return name
    return str(number)
