"""How fast zombies grow, and when that has used up what there is; pure."""

from __future__ import annotations

from typing import NamedTuple, Optional

# From one sample the growth is the mean since the oldest zombie's start. Of fewer or younger ones it would say nothing:
# each process that ends is a zombie for a moment.
FEWEST, YOUNGEST = 2, 60.0


class Tally(NamedTuple):
    """Some zombies: how many, and the age of the oldest in seconds."""

    count: int = 0
    oldest: float = 0.0

    def __add__(self, other: Tally) -> Tally:  # type: ignore[override]
        return Tally(self.count + other.count, max(self.oldest, other.oldest))


def growth_per_minute(now: Tally, before: Optional[Tally], seconds: float) -> Optional[float]:
    """Zombies a minute: between two samples that are `seconds` apart, else from the age of the oldest, else None."""
    if before is not None:
        return (now.count - before.count) * 60 / seconds if seconds > 0 else None
    if now.count < FEWEST or now.oldest < YOUNGEST:
        return 0.0 if now.count == 0 else None
    return now.count * 60 / now.oldest


def seconds_left(used: int, limit: int, growth: Optional[float]) -> Optional[float]:
    """Seconds until `limit` is reached at a growth a minute; infinite if it does not grow, None if not known."""
    if used >= limit:
        return 0.0
    if growth is None:
        return None
    return (limit - used) * 60 / growth if growth > 0 else float("inf")
