"""Replay the incident: a health check leaves zombies behind until no PID is left.

A health check ran in a pod every ten seconds, and each time PID 1 adopted one of its processes. PID 1 was a pause that
did not reap. Here a check runs every few milliseconds.
"""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Optional

from pyinit.linux.procfs import list_processes

from .. import cgroups, namespaces, procfs
from ..bench import Bench
from ..charts import COUNT, Chart, Point, thin
from ..generators import Answer
from ..inits import PAUSE, SLEEPER, Init
from ..namespaces import Running
from ..report import NOTHING, Result, format_duration

NAME = "incident"
REAL_INTERVAL = 10.0  # seconds between two health checks in the real incident
BUDGET, QUICK_BUDGET = 1024, 300  # PIDs that a pod may have
RATE = 100.0  # health checks a second here
LOOK = 0.1  # seconds between two counts of the zombies


@dataclass
class Side:
    """One of the inits that are compared, while it runs. left: PIDs that are left of its budget."""

    init: Init
    running: Running
    group: Optional[cgroups.PidBudget]
    watch: procfs.ZombieWatch
    zombies: int = 0
    left: int = 0
    answer: Answer = field(default_factory=Answer)


def run(bench: Bench) -> Result:
    """Replay it under a pause that does not reap and under pauses that do, at the same time if possible."""
    budget = QUICK_BUDGET if bench.quick else BUDGET
    checks = int(budget * 1.2)
    root, how = find_budget(bench)
    result = Result(NAME, f"{checks} health checks, one every {1000 / RATE:.0f} ms in place of {REAL_INTERVAL:.0f} s, "
                          f"each leaving a zombie; a budget of {budget} PIDs",
                    ["init", "checks", "zombies at most", "PIDs left", "refused", "result", "in real time"])
    inits = bench.of_kind(SLEEPER, PAUSE)
    lines: dict[str, list[Point]] = {}
    # RLIMIT_NPROC counts all processes of a user, so the sides would use up each other's budget: run them one by one.
    for group in [[init] for init in inits] if how == LIMIT else [inits]:
        for side in replay(bench, group, root, how, budget, checks):
            add_row(result, side, budget, how)
            lines[side.init.name] = thin(side.watch.since(side.answer["start"] / 1e9)) if side.answer else []
    result.charts.append(Chart("Zombies in the replayed incident", COUNT, "seconds", "zombies", lines,
                               (budget, f"{budget:,} PIDs: no new process")))
    result.notes.append(f"the budget is held by {how}")
    result.notes.append("a refused check is a fork(2) that fails with EAGAIN: in a pod no exec, no probe and no new "
                        "process works from then on")
    return result


def replay(bench: Bench, inits: list[Init], root: Optional[str], how: str, budget: int, checks: int) -> list[Side]:
    """Make the health checks under some inits at the same time; return a side for each."""
    with ExitStack() as stack:
        sides = [open_side(bench, stack, init, number, root, how, budget) for number, init in enumerate(inits)]
        for side in sides:
            simulated = how == SIMULATED and side.init.kind == SLEEPER
            side.running.helper.send(f"paced {RATE} {min(checks, budget) if simulated else checks}")
        watch(bench, sides, budget, checks / RATE)
        return sides


CGROUP, LIMIT, SIMULATED = "cgroup pids.max", "RLIMIT_NPROC", "simulated, by counting the zombies"


def find_budget(bench: Bench) -> tuple[Optional[str], str]:
    """Return the folder for control groups, or None, and what can enforce a PID budget here."""
    root = cgroups.find_root()
    if root:
        return root, CGROUP
    # getrlimit(2): RLIMIT_NPROC does not limit root, but it limits a user who is root only in a user namespace.
    return None, SIMULATED if is_real_root() else LIMIT


def is_real_root() -> bool:
    """Return whether this process is root outside of any user namespace: each user ID is mapped to itself."""
    return os.geteuid() == 0 and procfs.read("/proc/self/uid_map").split() == ["0", "0", "4294967295"]


def open_side(bench: Bench, stack: ExitStack, init: Init, number: int, root: Optional[str], how: str,
              budget: int) -> Side:
    """Start one side under its budget. Raises StartError, OSError."""
    group = stack.enter_context(cgroups.PidBudget(root, str(number), budget)) if root else None
    limit = count_own_processes() + budget if how == LIMIT else 0
    running = stack.enter_context(namespaces.start(
        init.command, bench.generator.storm(bench.name), [group.processes] if group else [], bench.mode,
        process_limit=limit))
    procfs.wait_settled(running.pid)
    return Side(init, running, group, procfs.ZombieWatch(running.pid))


def count_own_processes() -> int:
    """Return how many processes this user has: RLIMIT_NPROC counts all of them."""
    total = 0
    for pid in list_processes():
        try:
            total += os.stat(f"/proc/{pid}").st_uid == os.getuid()
        except OSError:
            pass
    return total


def watch(bench: Bench, sides: list[Side], budget: int, seconds: float) -> None:
    """Count and show the zombies of each side until all checks are made."""
    deadline = time.monotonic() + 2 * seconds + 10
    began = time.monotonic()
    while time.monotonic() < deadline and not all(side.answer for side in sides):
        for side in sides:
            look(side, budget)
            if not side.answer and side.running.helper.answered():
                side.answer = side.running.helper.receive(5)
        elapsed = time.monotonic() - began
        bench.progress.show(*(f"{elapsed:5.1f} s  {describe(side)}" for side in sides))
        time.sleep(LOOK)
    time.sleep(LOOK)
    for side in sides:
        look(side, budget)
    bench.progress.show(*(f"     end  {describe(side)}" for side in sides), force=True)
    bench.progress.keep()


def describe(side: Side) -> str:
    """Return the progress line of one side."""
    alarm = "  EAGAIN: no new process" if side.left <= 1 else ""
    return f"{side.init.name:24} zombies {side.zombies:6,}  PIDs left {side.left:6,}{alarm}"


def look(side: Side, budget: int) -> None:
    """Count the zombies of a side and the PIDs that are left of its budget."""
    side.zombies = side.watch.count()
    side.left = budget - (side.group.used() if side.group else side.zombies)


def add_row(result: Result, side: Side, budget: int, how: str) -> None:
    """Add the row of one side, with the time that the same would have taken in the incident."""
    answer = side.answer
    if not answer:
        result.warn(f"{side.init.name}: the checks did not end in time")
        return
    run_out = how == SIMULATED and side.zombies >= budget
    refused = answer["refused"]
    if refused or run_out:
        until = answer["first_refused"] - answer["start"] if refused else answer["end"] - answer["start"]
        outcome = f"no PID left after {until / 1e9:.1f} s, {until / 1e9 * RATE:,.0f} checks"
        real = format_duration(until / 1e9 * RATE * REAL_INTERVAL)
    else:
        until, outcome, real = None, "nothing happened", NOTHING
    result.rows.append([side.init.name, f"{answer['made'] + refused:,}", f"{side.watch.most:,}", f"{side.left:,}",
                        f"{refused:,}", outcome, real])
    result.data.append({"init": side.init.name, "checks": answer["made"] + refused, "zombies": side.watch.most,
                        "pids_left": side.left, "refused": refused, "until_eagain_ns": until, "budget": budget,
                        "rate": RATE, "held_by": how})
