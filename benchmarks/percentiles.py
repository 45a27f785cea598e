"""Exact percentiles by nearest rank. A percentile is None if too few values tell it from the maximum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Optional

REPORTED = (50.0, 90.0, 99.0, 99.9)


def percentile(ordered: Sequence[float], percent: float) -> Optional[float]:
    """Return the smallest value that at least `percent` per cent of the values do not exceed.

    `ordered` must be sorted. Returns None if there are too few values to have one above the percentile: p99.9 needs
    1,000.
    """
    count = len(ordered)
    if count == 0 or count * (100 - percent) < 100 * (1 - 1e-9):
        return None
    return ordered[min(count, max(1, math.ceil(count * percent / 100 - 1e-9))) - 1]


def median(values: Sequence[float]) -> Optional[float]:
    """Return the middle value, or the mean of the two in the middle; None without values."""
    ordered = sorted(values)
    if not ordered:
        return None
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def summarise(values: Sequence[float]) -> dict[str, Optional[float]]:
    """Return n, p50, p90, p99, p99.9 and max of values in any order."""
    ordered = sorted(values)
    summary: dict[str, Optional[float]] = {"n": len(ordered)}
    for percent in REPORTED:
        summary[f"p{percent:g}"] = percentile(ordered, percent)
    summary["max"] = ordered[-1] if ordered else None
    return summary


def curve(values: Sequence[float], points: int = 200) -> list[tuple[float, float]]:
    """Return (share of the values that are at least `value`, value) for the upper half of the values, in order.

    Returns at most `points` pairs, evenly spaced on a logarithmic axis.
    """
    ordered = sorted(values)
    count = len(ordered)
    result: list[tuple[float, float]] = []
    last = -1
    for step in range(points if count > 1 else 0):
        share = 0.5 * (2 / count) ** (step / (points - 1))  # from one half down to one value
        rank = count - max(1, round(count * share))
        if rank > last:
            result.append(((count - rank) / count, ordered[rank]))
            last = rank
    return result
