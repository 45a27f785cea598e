"""The plan of a paced storm, and latencies from the plan, which include the generator's own delay.

A generator that waits for a slow system makes fewer orphans just when the system is slow (coordinated omission). So the
instant of each orphan is planned before the storm starts, and the latency is counted from that instant, even if the
orphan was made later.
"""

from __future__ import annotations

from collections.abc import Iterable

from .generators import Answer


def planned_instant(start: int, rate: float, index: int) -> int:
    """Return when orphan `index` is due, in nanoseconds of the clock of `start`. `rate`: orphans a second."""
    return start + int(index * 1e9 / rate)


def latencies_from_plan(gone: Iterable[tuple[int, int]], start: int, rate: float) -> list[int]:
    """Return the nanoseconds from planned to reaped for each orphan, given as (index, instant it was reaped)."""
    return [instant - planned_instant(start, rate, index) for index, instant in gone]


def achieved_rate(answer: Answer) -> float:
    """Return how many orphans a second the generator really made."""
    return answer["made"] * 1e9 / max(1, answer["end"] - answer["start"])


def late_share(answer: Answer) -> float:
    """Return the share of a paced storm's orphans that were made later than the next one was due."""
    return answer.get("late", 0) / max(1, answer["made"] + answer["refused"])
