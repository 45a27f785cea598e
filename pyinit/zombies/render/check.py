"""Judge a report by thresholds, with the exit codes and the status line of monitoring plugins; pure."""

from __future__ import annotations

import math
from typing import NamedTuple, Optional

from ..analyse.verdicts import name_container, name_parent
from .words import format_duration, printable
from ..analyse.report import Report

# The plugin API of Nagios and compatible programs. For node-problem-detector, 0 is good and 1 is bad.
OK, WARNING, CRITICAL, UNKNOWN = range(4)
NAMES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


class Thresholds(NamedTuple):
    """A warning, or critical, from this many zombies on, or at this many seconds left or fewer; None for never."""

    warn: Optional[int] = None
    critical: Optional[int] = None
    warn_time: Optional[float] = None
    critical_time: Optional[float] = None

    @property
    def need_time(self) -> bool:
        """Whether one of the thresholds is a time."""
        return self.warn_time is not None or self.critical_time is not None


def judge(report: Report, thresholds: Thresholds) -> int:
    """Return OK, WARNING or CRITICAL; UNKNOWN instead of OK if a figure that a threshold needs could not be read."""
    tightest = report.tightest
    left = tightest.seconds_left if tightest else None
    for verdict, count, seconds in ((CRITICAL, thresholds.critical, thresholds.critical_time),
                                    (WARNING, thresholds.warn, thresholds.warn_time)):
        if count is not None and report.total >= count:
            return verdict
        if seconds is not None and left is not None and left <= seconds:
            return verdict
    return UNKNOWN if report.snapshot.is_partial or thresholds.need_time and report.unread else OK


def status_line(report: Report, thresholds: Thresholds) -> str:
    """Return one line without a newline. The most important comes first, because monitors may cut it: the state, the
    number of zombies, the time left, the parent. After "|" come the figures as plugins write them,
    name=value;warn;critical;minimum.
    """
    words = [f"{report.total} zombie{'' if report.total == 1 else 's'}"]
    tightest = report.tightest
    left = tightest.seconds_left if tightest else None
    if tightest and left is not None and left != math.inf:
        words.append(f"{tightest.name} used up in {format_duration(left)}" if left else f"{tightest.name} used up")
    if report.groups:
        group = report.groups[0]
        where = name_container(group.container)
        words.append(f"{group.zombies.number} of {name_parent(group)}" + (f" in {where}" if where else ""))
    if tightest and tightest.scope and left is not None and left != math.inf:
        words.append(f"{tightest.name} is that of {tightest.scope}")
    if report.snapshot.is_partial:
        words.append("processes are hidden")
    if thresholds.need_time and report.unread:
        words.append(f"{' and '.join(report.unread)} could not be read")
    figures = f"zombies={report.total};{show(thresholds.warn)};{show(thresholds.critical)};0"
    if left is not None and left != math.inf:
        # A threshold written as `N:` alerts below N.
        warn, critical = (show(seconds, ":") for seconds in (thresholds.warn_time, thresholds.critical_time))
        figures += f" time_left={left:.0f}s;{warn};{critical};0"
    # A "|" in the text would begin the figures.
    text = printable(", ".join(words)).replace("|", "/")
    return f"ZOMBIES {NAMES[judge(report, thresholds)]}: {text} | {figures}"


def show(number: Optional[float], behind: str = "") -> str:
    """Return a threshold as plugins write it, followed by `behind`, or "" without one."""
    return "" if number is None else f"{number:.0f}{behind}"
