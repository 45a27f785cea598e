"""Measure the memory of one init, and of all the pauses of a Kubernetes node."""

from __future__ import annotations

import os
from contextlib import ExitStack

from .. import namespaces, procfs
from ..bench import Bench
from ..inits import INIT, PAUSE, SLEEPER, Init
from ..report import NOTHING, Ratios, Result, format_bytes

NAME = "memory"
PODS = 110  # Kubernetes' default for the most pods of a node
FIELDS = ("Rss", "Pss", "Private_Dirty")
BARE = "python3 -IS, idle"


def run(bench: Bench) -> Result:
    """Read smaps_rollup of one of each init, then of PODS of each pause at once."""
    os.sync()  # a page of a file that was just written counts as private and dirty until it is on disk
    result = Result(NAME, f"memory of one, and the sum of {PODS} pauses that are alive at once",
                    ["init", "RSS", "PSS", "private dirty", "private / bare python", f"{PODS} RSS", f"{PODS} PSS",
                     f"{PODS} private dirty", "/ best peer"])
    bare = Init(BARE, SLEEPER, [bench.python, "-IS", "-c",
                                "import _signal; _signal.pause()"], own=True)
    inits = [bare, *bench.with_check(bench.inits)]
    single = {}
    for init in inits:
        bench.progress.show(f"{NAME}: {init.name}")
        single[init.name] = measure(bench, init, 1)
    sums = {}
    for init in inits:
        if init.kind in (PAUSE, SLEEPER):
            bench.progress.show(f"{NAME}: {PODS} of {init.name}")
            sums[init.name] = measure(bench, init, PODS)
    add_rows(result, inits, single, sums)
    return result


def measure(bench: Bench, init: Init, count: int) -> dict[str, int]:
    """Return the sum of each field, in bytes, over `count` copies of an init that run at once."""
    main = namespaces.WAITING_MAIN if init.kind == INIT else []
    with ExitStack() as stack:
        pids = [stack.enter_context(namespaces.start([*init.command, *main], mode=bench.mode)).pid
                for _ in range(count)]
        for pid in pids:
            if main:
                procfs.wait_executed(pid, main[0])
            procfs.wait_settled(pid)
        memory = [procfs.read_memory(pid) for pid in pids]
        return {field: sum(one[field] for one in memory) for field in FIELDS}


def add_rows(result: Result, inits: list[Init], single: dict[str, dict[str, int]],
             sums: dict[str, dict[str, int]]) -> None:
    """Add a row for each init, with its ratios of private memory to bare Python and to the best peer."""
    bare = single[BARE]["Private_Dirty"]
    ratios = Ratios([(init.name, init.own, single[init.name]["Private_Dirty"]) for init in inits
                     if init.kind != SLEEPER])
    for init in inits:
        mine, total = single[init.name], sums.get(init.name)
        result.rows.append([init.name, *(format_bytes(mine[field]) for field in FIELDS),
                            f"{mine['Private_Dirty'] / bare:.3f}" if bare else NOTHING,
                            *(format_bytes(total[field]) if total else NOTHING for field in FIELDS),
                            ratios.show(mine["Private_Dirty"]) if init.kind != SLEEPER else NOTHING])
        result.data.append({"init": init.name, "one": mine, "sum": total, "pods": PODS if total else None,
                            "private_times_bare": mine["Private_Dirty"] / bare if bare else None})
    result.notes.append("from /proc/PID/smaps_rollup, after sync(2); the kernel's own memory for a process is not in "
                        "it; PSS shares out what several processes have in common")
    if ratios.noise:
        result.notes.append("A/A check: private memory of the same init twice differs by a factor of "
                            f"{ratios.noise:.3f}")
