"""Measure an init under a CPU quota: how many zombies pile up, and how long it takes to reap them.

The kernel stops a container that has used up its quota, PID 1 included, until the next period. Here the init alone has
a quota of 1 % of a CPU; the storm generator has none.
"""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Optional

from .. import cgroups, procfs
from ..bench import Bench
from ..charts import COUNT, Chart, Point, extend, thin
from ..generators import Answer
from ..inits import Init
from ..namespaces import StartError
from ..pacing import achieved_rate
from ..percentiles import median
from ..report import NOTHING, Result, format_number, format_time

NAME = "throttle"
SHARE = 0.01  # of one CPU
STORM = "paced 5000 5000"  # the same in a quick run, because the number of zombies depends on the length of the storm
TURNS, QUICK_TURNS = 3, 1
PATIENCE, QUICK_PATIENCE = 60.0, 8.0  # seconds to reap the zombies, after the last orphan was made
LOOK = 0.005  # seconds between two counts of the zombies


@dataclass
class Turn:
    """The result of one storm.

    most        the largest number of zombies
    left        the number of zombies at the end
    stops       in how many periods the kernel stopped the init
    gone        nanoseconds from the last orphan until no zombie was left; None if that was not observed
    by          what reaps: "the init" or "the kernel"
    history     the zombies over time: seconds from the start of the storm, and their number
    """

    answer: Answer
    most: int
    left: int
    stops: int
    gone: Optional[float]
    by: str
    history: list[Point]


def run(bench: Bench) -> Result:
    """Measure every init that reaps, each with the same quota."""
    result = Result(NAME, f"orphans while the init has {SHARE:.0%} of a CPU: zombies at most, until the last is gone",
                    ["init", "reaped by", "orphans", "rate", "zombies at most", "last one gone after", "left",
                     "times stopped"])
    root = cgroups.find_root(cgroups.CpuQuota)
    if root is None:
        result.note("not measured: no control group with a CPU quota can be made here, which takes root and a cpu "
                    "controller that is mounted and writable")
        return result
    inits = bench.reapers()
    turns: dict[str, list[Turn]] = {}
    for init in bench.turns(QUICK_TURNS if bench.quick else TURNS, inits, NAME):
        try:
            turns.setdefault(init.name, []).append(measure(bench, init, root))
        except (StartError, OSError) as error:  # OSError: the group refuses the init, or the init has ended
            result.warn(f"{init.name}: {error}")
    for init in inits:
        if turns.get(init.name):
            add_row(result, init, turns[init.name])
    result.charts.append(Chart(f"Zombies in a fork storm, while the init has {SHARE:.0%} of a CPU", COUNT, "seconds",
                               "zombies", extend({name: some[0].history for name, some in turns.items() if some})))
    result.notes += [
        f"the init alone is in the group, and is stopped once it has used {cgroups.CPU_PERIOD * SHARE / 1000:.0f} ms "
        f"of {cgroups.CPU_PERIOD / 1000:.0f}; the orphans are made outside of it; zombies are counted from /proc every "
        f"{LOOK * 1000:.0f} ms, so that those that are gone sooner are not seen",
        "last one gone after: from the instant the last orphan was made until no zombie is seen; the median of the "
        "turns, and zombies at most the most of all; a quick run lifts the quota then, and does not measure it"]
    return result


def measure(bench: Bench, init: Init, root: str) -> Turn:
    """Run one storm under an init that gets a quota after it has settled. Raises StartError, OSError."""
    patience = QUICK_PATIENCE if bench.quick else PATIENCE
    with ExitStack() as stack:
        group = stack.enter_context(cgroups.CpuQuota(root, "throttle", SHARE))
        running = stack.enter_context(bench.start(init, command=bench.generator.storm(bench.name)))
        stack.callback(group.lift)  # before it is killed, because ending takes CPU time
        watch = procfs.ZombieWatch(running.pid)
        group.add(running.pid)
        running.helper.send(STORM)
        deadline = time.monotonic() + 60
        while not running.helper.answered() and time.monotonic() < deadline:
            watch.count()
            time.sleep(LOOK)
        answer = running.helper.receive(1)
        watch.count()  # at least once: a loaded machine may not have run this process during the storm
        if bench.quick:
            group.lift()  # the zombies would take several seconds to go
        gone = wait_gone(watch, answer["end"] / 1e9 + patience)
        after = 0.0 if not watch.most else None
        if watch.most and gone is not None and not bench.quick:
            after = max(0.0, gone * 1e9 - answer["end"])
        return Turn(answer, watch.most, len(watch.known), group.count_stops(), after, describe_reaping(running.pid),
                    thin(watch.since(answer["start"] / 1e9)))


def wait_gone(watch: procfs.ZombieWatch, deadline: float) -> Optional[float]:
    """Count until no zombie is left; return that instant, or None if there are zombies at the deadline.

    The instant and the deadline are in seconds of CLOCK_MONOTONIC.
    """
    while True:
        if not watch.count():
            return time.monotonic()
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK)


def describe_reaping(pid: int) -> str:
    """Return what reaps a process's children: an init that was asked to have the kernel reap may be unable to."""
    return "the kernel" if procfs.ignores(pid, signal.SIGCHLD) else "the init"


def add_row(result: Result, init: Init, turns: list[Turn]) -> None:
    """Add the row of one init: the results of all its turns."""
    made = sum(turn.answer["made"] for turn in turns)
    rate = median([achieved_rate(turn.answer) for turn in turns])
    most, left = max(turn.most for turn in turns), max(turn.left for turn in turns)
    gone = None if left else median([turn.gone for turn in turns if turn.gone is not None])
    stops = median([turn.stops for turn in turns])
    if left:
        result.warn(f"{init.name}: {left} zombies were still there at the end")
    refused = sum(turn.answer["refused"] for turn in turns)
    if refused:
        result.warn(f"{init.name}: {refused} orphans could not be made")
    result.rows.append([init.name, turns[0].by, f"{made:,}", format_number(rate), f"{most:,}",
                        NOTHING if gone is None else format_time(gone), f"{left:,}", f"{stops:g}"])
    result.data.append({"init": init.name, "reaped_by": turns[0].by, "orphans": made, "rate": rate,
                        "most_zombies": most, "gone_ns": gone, "left": left, "times_stopped": stops, "share": SHARE})
