"""Compute how fast the number of zombies grows, and when it reaches a limit; pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple, Optional

# With one sample, growth is computed from when the zombies were started, within each of these times in seconds. The
# fastest rate counts, because an old zombie among many new ones says nothing. Fewer than two zombies are no growth.
WINDOWS = (60.0, 600.0, 3600.0)
FEWEST = 2


class Tally(NamedTuple):
    """Some zombies: their number, the age of the oldest in seconds, and how many are no older than each of WINDOWS."""

    number: int = 0
    oldest: float = 0.0
    young: tuple[int, ...] = (0,) * len(WINDOWS)

    def __add__(self, other: Tally) -> Tally:  # type: ignore[override]
        return Tally(self.number + other.number, max(self.oldest, other.oldest),
                     tuple(mine + its for mine, its in zip(self.young, other.young)))


def tally_ages(ages: list[float]) -> Tally:
    """Return the tally of zombies of these ages in seconds."""
    ages = sorted(ages)
    return Tally(len(ages), ages[-1], tuple(bisect_right(ages, window) for window in WINDOWS)) if ages else Tally()


def is_measured(now: Tally, before: Optional[Tally]) -> bool:
    """Return whether the difference between two samples is the growth. A single zombie more than before may be about to
    be reaped, so growth is then estimated from the ages, as without a previous sample.
    """
    return before is not None and not 0 < now.number - before.number < FEWEST


def growth_per_minute(now: Tally, before: Optional[Tally], seconds: float) -> Optional[float]:
    """Return the growth in zombies a minute: the difference between two samples that are `seconds` apart if
    is_measured(), else an estimate from the ages in one, else None.
    """
    if before is not None and is_measured(now, before):
        return (now.number - before.number) * 60 / seconds if seconds > 0 else None
    if now.number < FEWEST:
        return None if now.number else 0.0
    span = max(now.oldest, WINDOWS[0])
    rates = [count * 60 / min(window, span) for count, window in zip(now.young, WINDOWS) if count >= FEWEST]
    return max(rates) if rates else now.number * 60 / span


def seconds_left(used: int, limit: int, growth: Optional[float]) -> Optional[float]:
    """Return the seconds until `limit` is reached at a growth a minute: infinite without growth, None if unknown."""
    if used >= limit:
        return 0.0
    if growth is None:
        return None
    return (limit - used) * 60 / growth if growth > 0 else float("inf")
