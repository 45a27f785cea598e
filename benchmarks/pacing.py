"""The plan of a paced storm, and latency counted from the plan: what a late generator would hide is in it.

A storm that waits for a slow system sends less just when it is slow (coordinated omission). So the plan stands before
the storm starts, and an orphan that came late is late by the plan's instant, not by its own.
"""

from __future__ import annotations

from typing import Iterable

SECOND = 1_000_000_000  # nanoseconds


def planned_instant(start: int, rate: float, index: int) -> int:
    """When orphan `index` is due, in nanoseconds of the clock of `start`; `rate` is orphans a second."""
    return start + int(index * 1e9 / rate)


def latencies_from_plan(gone: Iterable[tuple[int, int]], start: int, rate: float) -> list[int]:
    """Nanoseconds from the planned instant of each orphan, given as (index, gone), to the instant it was gone."""
    return [instant - planned_instant(start, rate, index) for index, instant in gone]


def achieved_rate(answer: dict) -> float:
    """Orphans a second that a generator really made."""
    return answer["made"] * 1e9 / max(1, answer["end"] - answer["start"])


def late_share(answer: dict) -> float:
    """The share of a paced storm's orphans that came later than the next one was due."""
    return answer.get("late", 0) / max(1, answer["made"] + answer["refused"])
