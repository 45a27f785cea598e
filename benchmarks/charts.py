"""The content of a picture: lines of points, the titles of the axes, and how the axes are scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

from .percentiles import curve

Point = tuple[float, float]

# How the axes are scaled. LATENCY: y is a value in nanoseconds, and x the share of the values that are at least y, with
# percentiles as ticks; both axes are logarithmic. COUNT: both axes are linear and begin at 0.
LATENCY, COUNT = "latency", "count"
POINTS = 150  # the most points of a line


@dataclass
class Chart:
    """One picture. kind: LATENCY or COUNT. limit: the height of a horizontal line, and its text."""

    title: str
    kind: str
    x: str
    y: str
    lines: dict[str, list[Point]] = field(default_factory=dict)
    limit: Optional[tuple[float, str]] = None


def chart_latencies(title: str, values: Mapping[str, Sequence[float]]) -> Chart:
    """Return a chart of latency over percentile: a line for each name with at least two values, in nanoseconds."""
    lines = {name: curve(some, POINTS) for name, some in values.items() if len(some) > 1}
    return Chart(title, LATENCY, "percentile", "latency", lines)


def extend(lines: Mapping[str, Sequence[Point]]) -> dict[str, list[Point]]:
    """Return the lines, each continued at its last height to the end of the longest one."""
    end = max((line[-1][0] for line in lines.values() if line), default=0.0)
    return {name: [*line, *([(end, line[-1][1])] if line and line[-1][0] < end else [])]
            for name, line in lines.items()}


def thin(points: Sequence[Point], most: int = POINTS) -> list[Point]:
    """Return at most about `most` points of a line: the highest point of each section, and the last point."""
    if len(points) <= most:
        return list(points)
    size = -(-len(points) // most)
    parts = [points[place:place + size] for place in range(0, len(points), size)]
    return [*(max(part, key=lambda point: point[1]) for part in parts), points[-1]]
