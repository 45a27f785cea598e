"""How fast zombies grow, and when that has used up what there is; pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import NamedTuple, Optional

# Times in seconds in which the growth is looked for when there is one sample: when each zombie was started is known.
# The fastest counts, as an old zombie among many new ones says nothing. Fewer than two are no growth.
WINDOWS = (60.0, 600.0, 3600.0)
FEWEST = 2


class Tally(NamedTuple):
    """Some zombies: how many, the age of the oldest in seconds, and how many are as young as each of the WINDOWS."""

    number: int = 0
    oldest: float = 0.0
    young: tuple[int, ...] = (0,) * len(WINDOWS)

    def __add__(self, other: Tally) -> Tally:  # type: ignore[override]
        return Tally(self.number + other.number, max(self.oldest, other.oldest),
                     tuple(mine + its for mine, its in zip(self.young, other.young)))


def tally_ages(ages: list[float]) -> Tally:
    """The tally of zombies of these ages in seconds."""
    ages = sorted(ages)
    return Tally(len(ages), ages[-1], tuple(bisect_right(ages, window) for window in WINDOWS)) if ages else Tally()


def growth_per_minute(now: Tally, before: Optional[Tally], seconds: float) -> Optional[float]:
    """Zombies a minute: between two samples that are `seconds` apart, else from the ages of one, else None.

    One more than before may be about to be reaped: then the ages are asked, too.
    """
    if before is not None and not 0 < now.number - before.number < FEWEST:
        return (now.number - before.number) * 60 / seconds if seconds > 0 else None
    if now.number < FEWEST:
        return None if now.number else 0.0
    span = max(now.oldest, WINDOWS[0])
    rates = [count * 60 / min(window, span) for count, window in zip(now.young, WINDOWS) if count >= FEWEST]
    return max(rates) if rates else now.number * 60 / span


def seconds_left(used: int, limit: int, growth: Optional[float]) -> Optional[float]:
    """Seconds until `limit` is reached at a growth a minute; infinite if it does not grow, None if not known."""
    if used >= limit:
        return 0.0
    if growth is None:
        return None
    return (limit - used) * 60 / growth if growth > 0 else float("inf")
