"""Measure an init that has nothing to do: it should neither wake up nor use CPU."""

from __future__ import annotations

import time
from contextlib import ExitStack

from .. import procfs
from ..bench import Bench
from ..namespaces import StartError
from ..report import Result, format_number, format_time

NAME = "idle"
SECONDS, QUICK_SECONDS = 60, 5


def run(bench: Bench) -> Result:
    """Watch all inits at the same time, each with a main child that waits."""
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    inits = bench.with_check(bench.inits)
    result = Result(NAME, f"wakeups and CPU a minute with nothing to do, watched for {seconds} s",
                    ["init", "wakeups / min", "CPU / min"])
    with ExitStack() as stack:
        running = {}
        for init in inits:
            try:
                running[init.name] = stack.enter_context(bench.start(init, helper=False))
            except StartError as error:
                result.warn(f"{init.name}: {error}")
        before = {name: read(one.pid) for name, one in running.items()}
        watch(bench, seconds)
        after = {name: read(one.pid) for name, one in running.items()}
    for name in running:
        wakeups, cpu = ((last - first) * 60 / seconds for first, last in zip(before[name], after[name]))
        result.rows.append([name, format_number(wakeups) if wakeups else "0", format_time(cpu)])
        result.data.append({"init": name, "wakeups_per_minute": wakeups, "cpu_ns_per_minute": cpu})
    result.notes.append("wakeups are context switches, voluntary and not, of all threads")
    return result


def read(pid: int) -> tuple[int, int]:
    """Return (context switches, nanoseconds of CPU) of a process since its start."""
    return procfs.read_switches(pid), procfs.read_cpu(pid)


def watch(bench: Bench, seconds: float) -> None:
    """Wait for some seconds, and show the progress."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        bench.progress.show(f"{NAME}: {deadline - time.monotonic():.0f} s left")
        time.sleep(min(0.5, max(0.0, deadline - time.monotonic())))
