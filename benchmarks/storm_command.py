"""The stress test for one init: storm it with orphans, show the progress, and print a verdict."""

from __future__ import annotations

import time

from . import namespaces, procfs
from .bench import Bench
from .inits import INIT, Init
from .namespaces import Running, StartError
from .pacing import achieved_rate
from .percentiles import summarise
from .report import Result, format_number, format_time
from .verdict import CODE, Seen, judge

SLICE = 1.0  # seconds of storm between two measurements; the tracer's buffer holds that much
FLAT_SLICE = 2000  # orphans between two measurements without a rate
BURST = 500  # zombies that the init gets in one instant, at the end
END_PATIENCE = 10.0  # seconds: an init that has died is gone by then, also on a loaded machine
PATIENCE = 2.0  # seconds: a zombie that waits this much longer than it may counts as not reaped
END = 5.0  # seconds that an init has at least to end after its main child


def run(bench: Bench, init: Init, rate: float, seconds: float, within: float) -> int:
    """Storm the init, print a verdict, and return the exit code that goes with it.

    rate: orphans a second, 0 for as many as possible; within: seconds that a zombie may wait
    """
    result = Result("storm", "", [])
    seen = Seen(has_main=init.kind == INIT)
    with bench.start(init) as running:
        try:
            make_storms(bench, running, init, rate, seconds, within, seen, result)
            seen.left = procfs.count_zombies(running.pid)
            seen.died = running.wait(0)
            if seen.has_main and seen.died is None:
                seen.code = running.end_main(CODE, max(END, within + PATIENCE))
        except (StartError, OSError):
            seen.died = running.wait(END_PATIENCE)
            if seen.died is None:
                raise
    bench.progress.keep()
    code, verdict = judge(seen, within)
    if seen.died is None:
        print_figures(seen, result)
    print("\n".join(verdict), flush=True)
    return code


def make_storms(bench: Bench, running: Running, init: Init, rate: float, seconds: float, within: float, seen: Seen,
                result: Result) -> None:
    """Make orphans until the time is over, then a burst; collect the observations in `seen`."""
    children = namespaces.adopted_children(running)
    began = time.monotonic()
    slice_seconds = min(SLICE, seconds)
    command = f"paced {rate} {max(1, int(rate * slice_seconds))}" if rate else f"flat {FLAT_SLICE}"
    while command:
        storm = bench.measure(running, command, result, init.name, reaping=within + PATIENCE)
        seen.made += storm.answer["made"]
        seen.refused += storm.answer["refused"]
        seen.waits += storm.latencies
        seen.by_kernel = storm.by_kernel
        now = max(0, namespaces.adopted_children(running) - children)
        worst = format_time(max(seen.waits)) if seen.waits else "-"
        what = "burst" if command.startswith("burst") else f"{format_number(achieved_rate(storm.answer))}/s"
        bench.progress.show(f"{time.monotonic() - began:5.0f} s  {what:>8}  {seen.made:>9,} orphans  "
                            f"{now:>6,} zombies now  worst wait {worst}")
        if command.startswith("burst"):
            return
        if time.monotonic() - began >= seconds:
            command = f"burst {BURST}"


def print_figures(seen: Seen, result: Result) -> None:
    """Print the figures behind the verdict, with the notes and warnings about them."""
    summary = summarise(seen.waits)
    print(f"orphans made: {seen.made:,}; refused: {seen.refused:,}; zombies left: {seen.left:,}")
    print("wait of a zombie: " + ", ".join(f"{name} {format_time(value)}" for name, value in summary.items()
                                           if name != "n") + f", of {summary['n']:,} measured")
    for note in result.notes:
        print(note)
    for warning in result.warnings:
        print(f"WARNING: {warning}")
