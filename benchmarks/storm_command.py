"""The stress test for one init: storm it for a while, live, and see that no zombie and no exit code is lost."""

from __future__ import annotations

import time

from . import namespaces, procfs
from .bench import Bench
from .inits import INIT, Init
from .percentiles import summarise
from .report import Result, format_time

CODE = 42  # the main child's exit code, which the init must have as its own
SLICE = 1.0  # seconds of storm between two looks: a tracer's buffer holds that much
FLAT_SLICE = 2000  # orphans between two looks when there is no rate


def run(bench: Bench, init: Init, rate: float, seconds: float) -> int:
    """Storm the init; return 1 if a zombie is left or the main child's exit code is lost, else 0."""
    result = Result("storm", "", [])
    latencies: list[int] = []
    made = refused = 0
    with bench.start(init) as running:
        before = namespaces.adopted_children(running)
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            slice_seconds = min(SLICE, seconds)
            command = f"paced {rate} {max(1, int(rate * slice_seconds))}" if rate else f"flat {FLAT_SLICE}"
            storm = bench.measure(running, command, result, init.name)
            made += storm.answer["made"]
            refused += storm.answer["refused"]
            latencies += storm.latencies
            bench.progress.show(f"{time.monotonic() - began:5.0f} s  {made:>9,} orphans  {storm.left} zombies left  "
                                f"p99 {format_time(summarise(storm.latencies)['p99'])}")
        namespaces.wait_reaped(running, before, 5)
        zombies = procfs.count_zombies(running.pid)
        code = running.end_main(CODE) if init.kind == INIT else CODE
    bench.progress.keep()
    print_outcome(made, refused, zombies, code, latencies, result, init.kind == INIT)
    return int(zombies > 0 or code != CODE or made == 0)


def print_outcome(made: int, refused: int, zombies: int, code, latencies: list[int], result: Result,
                  has_main: bool) -> None:
    """Say what came of it."""
    summary = summarise(latencies)
    print(f"orphans made: {made:,}; refused: {refused:,}; zombies left: {zombies}")
    print("reap latency: " + ", ".join(f"{name} {format_time(value)}" for name, value in summary.items() if name != "n")
          + f", of {summary['n']:,} measured")
    if has_main:
        print(f"exit code of the main child: {CODE}, of the init: "
              + ("none: it did not end" if code is None else f"{code}{'' if code == CODE else ': LOST'}"))
    for note in result.notes:
        print(note)
    for warning in result.warnings:
        print(f"WARNING: {warning}")
