"""An init that its container's CPU quota has stopped: how many zombies pile up, and how long until they are gone.

A container that has used up its quota is stopped until the next period, and its PID 1 with it. Here the init has 1 % of
a CPU to itself, and whoever makes the orphans is outside of that.
"""

from __future__ import annotations

import signal
import time
from contextlib import ExitStack
from typing import Optional

from .. import cgroups, procfs
from ..bench import Bench
from ..inits import Init
from ..namespaces import StartError
from ..pacing import achieved_rate
from ..percentiles import median
from ..report import NOTHING, Result, format_number, format_time

NAME = "throttle"
SHARE = 0.01  # of one CPU
STORM, QUICK_STORM = "paced 5000 5000", "paced 5000 1500"
TURNS, QUICK_TURNS = 3, 1
PATIENCE, QUICK_PATIENCE = 60.0, 8.0  # seconds for the zombies to go, once no more are made
LOOK = 0.005  # seconds between two looks


def run(bench: Bench) -> Result:
    """Measure every init that reaps under a quota of its own."""
    result = Result(NAME, f"orphans while the init has {SHARE:.0%} of a CPU: zombies at most, until the last is gone",
                    ["init", "reaped by", "orphans", "rate", "zombies at most", "last one gone after", "left",
                     "times stopped"])
    root = cgroups.find_root(cgroups.CpuQuota)
    if root is None:
        result.note("not measured: no control group with a CPU quota can be made here, which takes root and a cpu "
                    "controller that is mounted and writable")
        return result
    inits = bench.reapers()
    turns: dict[str, list[dict]] = {}
    for init in bench.turns(QUICK_TURNS if bench.quick else TURNS, inits, NAME):
        try:
            turns.setdefault(init.name, []).append(measure(bench, init, root))
        except (StartError, OSError) as error:  # OSError: the group refuses it, or it has ended
            result.warn(f"{init.name}: {error}")
    for init in inits:
        if turns.get(init.name):
            add_row(result, init, turns[init.name])
    result.notes += [
        f"the init alone is in the group, and is stopped once it has used {cgroups.CPU_PERIOD * SHARE / 1000:.0f} ms "
        f"of {cgroups.CPU_PERIOD / 1000:.0f}; the orphans are made outside of it; zombies are counted from /proc every "
        f"{LOOK * 1000:.0f} ms, so that those that are gone sooner are not seen",
        "last one gone after: from the instant the last orphan was made until no zombie is seen; the median of the "
        "turns, and zombies at most the most of all"]
    return result


def measure(bench: Bench, init: Init, root: str) -> dict:
    """One storm of orphans under one init that has a quota; it settles before it gets that."""
    patience = QUICK_PATIENCE if bench.quick else PATIENCE
    with ExitStack() as stack:
        group = stack.enter_context(cgroups.CpuQuota(root, "throttle", SHARE))
        running = stack.enter_context(bench.start(init, command=bench.generator.storm(bench.name)))
        stack.callback(group.lift)  # before it is killed: ending takes CPU, too
        watch = procfs.ZombieWatch(running.pid)
        group.add(running.pid)
        running.helper.send(QUICK_STORM if bench.quick else STORM)
        deadline = time.monotonic() + 60
        while not running.helper.answered() and time.monotonic() < deadline:
            watch.count()
            time.sleep(LOOK)
        answer = running.helper.receive(1)
        gone = wait_gone(watch, answer["end"] / 1e9 + patience)
        return {"answer": answer, "most": watch.most, "left": len(watch.known), "stops": group.count_stops(),
                "gone_ns": None if gone is None else max(0.0, gone * 1e9 - answer["end"]) if watch.most else 0.0,
                "by": describe_reaping(running.pid)}


def wait_gone(watch: procfs.ZombieWatch, deadline: float) -> Optional[float]:
    """The instant at which no zombie is seen any more; None when there are some at the deadline."""
    while True:
        if not watch.count():
            return time.monotonic()
        if time.monotonic() > deadline:
            return None
        time.sleep(LOOK)


def describe_reaping(pid: int) -> str:
    """Who reaps a process's children: an init that was asked to leave it to the kernel may not be able to."""
    return "the kernel" if procfs.ignores(pid, signal.SIGCHLD) else "the init"


def add_row(result: Result, init: Init, turns: list[dict]) -> None:
    """What came of all turns of one init."""
    made = sum(turn["answer"]["made"] for turn in turns)
    rate = median([achieved_rate(turn["answer"]) for turn in turns])
    most, left = (max(turn[name] for turn in turns) for name in ("most", "left"))
    gone = None if left else median([turn["gone_ns"] for turn in turns])
    stops = median([turn["stops"] for turn in turns])
    if left:
        result.warn(f"{init.name}: {left} zombies were still there at the end")
    refused = sum(turn["answer"]["refused"] for turn in turns)
    if refused:
        result.warn(f"{init.name}: {refused} orphans could not be made")
    result.rows.append([init.name, turns[0]["by"], f"{made:,}", format_number(rate), f"{most:,}",
                        NOTHING if gone is None else format_time(gone), f"{left:,}", f"{stops:g}"])
    result.data.append({"init": init.name, "reaped_by": turns[0]["by"], "orphans": made, "rate": rate,
                        "most_zombies": most, "gone_ns": gone, "left": left, "times_stopped": stops, "share": SHARE})
