"""Measure what a report of pyinit-zombies on a full process table costs, on one core."""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import sys
import time

from .. import namespaces
from ..bench import Bench
from ..report import Result, format_bytes, format_time

NAME = "zombies"
COUNTS, QUICK_COUNTS = (1_000, 10_000, 30_000), (1_000, 5_000)
TURNS, QUICK_TURNS = 5, 1
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
REPORT = ["-m", "pyinit.zombies", "--json"]
FORKING = 120  # seconds to wait until all processes exist

# This program makes zombies and writes "ready": all of one parent, or each of its own.
SCENE = """
import os, sys
count = int(sys.argv[1])
if sys.argv[2] == "one":
    for _ in range(count - 1):
        os.fork() or os._exit(0)
else:
    there, said = os.pipe()
    for _ in range(count // 2):
        if os.fork() == 0:
            child = os.fork() or os._exit(0)
            os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
            os.write(said, b"x")
            os.read(0, 1)
            os._exit(0)
    left = count // 2
    while left:
        left -= len(os.read(there, 4096))
os.write(1, b"ready")
os.read(0, 1)
"""


def run(bench: Bench) -> Result:
    """Measure time and memory of a report for several numbers of processes, with one parent and with many."""
    turns = QUICK_TURNS if bench.quick else TURNS
    result = Result(NAME, "one report of pyinit-zombies on one core, start of the interpreter included",
                    ["processes", "parents", "time", "CPU", "memory at most"])
    for count in QUICK_COUNTS if bench.quick else COUNTS:
        for parents in ("one", "many"):
            bench.progress.show(f"{NAME}: {count} processes, {parents}")
            command = [sys.executable, "-ISc", SCENE, str(count), parents]
            with namespaces.start(command, mode=bench.mode, stdout=True) as running:
                if not select.select([running.from_main], [], [], FORKING)[0] or not os.read(running.from_main, 5):
                    result.warn(f"{count} processes could not be made")
                    continue
                add_row(result, count, parents, [measure([bench.python, *REPORT]) for _ in range(turns)])
    result.note("many: half of the processes are zombies, each of another parent, and each parent is one of a group's "
                "lines; one: all but one are zombies")
    return result


def measure(command: list[str]) -> tuple[int, int, int]:
    """Make one report; return (nanoseconds, nanoseconds of CPU, the most bytes of memory). Raises ValueError."""
    began = time.monotonic_ns()
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               preexec_fn=lambda: os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = status
    if status:
        raise ValueError(f"{' '.join(command)} failed: status {status}")
    return time.monotonic_ns() - began, int((usage.ru_utime + usage.ru_stime) * 1e9), usage.ru_maxrss * 1024


def add_row(result: Result, count: int, parents: str, figures: list[tuple[int, int, int]]) -> None:
    """Add the row of one scene, with the medians of several reports."""
    elapsed, cpu, memory = (int(statistics.median(column)) for column in zip(*figures))
    result.rows.append([f"{count:,}", parents, format_time(elapsed), format_time(cpu), format_bytes(memory)])
    result.data.append({"processes": count, "parents": parents, "time_ns": elapsed, "cpu_ns": cpu, "memory": memory,
                        "turns": len(figures)})
