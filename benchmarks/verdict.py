"""Judge an init by what was observed in a storm: a verdict in plain words, and an exit code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Optional

from .report import format_time

CODE = 42  # the main child's exit code, with which the init must exit as well
GOOD, BAD, UNKNOWN = 0, 1, 3  # exit codes; 2 is a wrong command line
POLLING = 10e6  # nanoseconds: if half of the zombies wait longer, SIGCHLD does not wake the init


@dataclass
class Seen:
    """The observations of an init in a storm.

    made       the number of orphans that were made
    refused    the number of orphans that could not be made
    left       the number of zombies that were not reaped at the end
    waits      how long each zombie waited that was reaped and measured, in nanoseconds
    by_kernel  whether the kernel frees the orphans, so that no zombie waits
    has_main   whether the init has a main child
    code       the exit code of the init after the end of its main child; None if the init did not end
    died       the exit code of an init that ended during the storm; None if it did not end
    """

    made: int = 0
    refused: int = 0
    left: int = 0
    waits: list[int] = field(default_factory=list)
    by_kernel: bool = False
    has_main: bool = True
    code: Optional[int] = CODE
    died: Optional[int] = None


def judge(seen: Seen, within: float) -> tuple[int, list[str]]:
    """Return the exit code and the lines of the verdict. within: seconds that a zombie may wait."""
    if seen.died is not None:
        return BAD, [f"BAD: it died. It ended {describe_code(seen.died)} while the storm went on.",
                     "     A container ends with its PID 1. An init must go on until its main child ends."]
    if not seen.made:
        return UNKNOWN, ["UNKNOWN: no orphan could be made."]
    problems = [*judge_zombies(seen), *judge_waits(seen, within), *judge_code(seen)]
    if problems:
        return BAD, [f"BAD: {problems[0][0].lower()}{problems[0][1:]}", *(f"     {line}" for line in problems[1:])]
    if not (seen.waits or seen.by_kernel):
        return UNKNOWN, [f"UNKNOWN: all {seen.made:,} orphans were reaped, but no wait was measured."]
    how = ("the kernel frees them while they exit, because the init ignores SIGCHLD" if seen.by_kernel else
           f"the longest wait was {format_time(max(seen.waits))}, and {format_time(within * 1e9)} are allowed")
    code = ["      The main child's exit code came through."] if seen.has_main else []
    return GOOD, [f"GOOD: all {seen.made:,} orphans were reaped in time; {how}.", *code]


def judge_zombies(seen: Seen) -> list[str]:
    """Return lines about what is wrong if zombies are left, else []."""
    if not seen.left:
        return []
    if seen.left < seen.made:
        return [f"It leaves zombies. {seen.left:,} of {seen.made:,} orphans were not reaped.",
                "It may wait once for each SIGCHLD, of which several merge into one (signal(7)). It must wait until no "
                "zombie is left."]
    if seen.has_main and seen.code == CODE:
        return [f"It reaps its main child only. All {seen.made:,} orphans are still zombies, and keep their PIDs.",
                "It may wait for one PID only. An init must wait for any child: waitpid(2) with -1."]
    return [f"It does not reap. All {seen.made:,} orphans are still zombies, and keep their PIDs."]


def judge_waits(seen: Seen, within: float) -> list[str]:
    """Return lines about what is wrong if zombies were reaped, but too late, else []."""
    late = [wait for wait in seen.waits if wait > within * 1e9]
    if not late:
        return []
    lines = [f"It reaps late. {len(late):,} of {len(seen.waits):,} zombies waited for longer than "
             f"{format_time(within * 1e9)}, the longest for {format_time(max(late))}."]
    if is_polling(seen.waits):
        lines.append("Half of them waited for more than a quarter of that: it may look for zombies at fixed times, and "
                     "not at SIGCHLD.")
    return lines


def is_polling(waits: Sequence[int]) -> bool:
    """Return whether the waits are spread evenly up to the longest, as with an init that polls."""
    middle = sorted(waits)[len(waits) // 2]
    return middle > POLLING and middle > max(waits) / 4


def judge_code(seen: Seen) -> list[str]:
    """Return lines about what is wrong if the main child's exit code is lost, else []."""
    if not seen.has_main or seen.code == CODE:
        return []
    if seen.code is None:
        return ["It did not end when its main child did."]
    return [f"The main child ended with code {CODE}, and the init with code {seen.code}."]


def describe_code(code: int) -> str:
    """Return an exit code in words, as a signal if it is above 128."""
    return f"by signal {code - 128}" if code > 128 else f"with code {code}"
