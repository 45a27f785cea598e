"""Measure signals through the init to the main child: their latency, also in a storm, and how many are lost early."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from dataclasses import dataclass
from typing import Optional

from .. import namespaces, procfs
from ..bench import Bench
from ..charts import chart_latencies
from ..inits import INIT, Init
from ..namespaces import SLEEPING_MAIN, Running, StartError
from ..percentiles import summarise
from ..report import NOTHING, Ratios, Result, format_time, note_noise
from ..tracing import IGNORED

NAME = "forward"
SIGNALS, QUICK_SIGNALS = 500, 100
TURNS, QUICK_TURNS = 4, 1
EARLY, QUICK_EARLY = 150, 6
# Orphans flat out, and then many zombies in one instant. An init that reaps all of them before it looks at its signals
# delays a signal for that long.
STORM, QUICK_STORM = ("flat 20000", "burst 5000"), ("flat 1000", "burst 1000")

STRAIGHT = "no init: straight to it"
GROUP = " (to the group)"
COUNTING = " --stats"
EARLY_WINDOW = 0.010  # seconds after the exec within which early signals are sent
MASKED_WINDOW = 0.005  # seconds after the mask was set within which the others are sent
PATIENCE, QUICK_PATIENCE = 0.5, 0.3  # seconds after which a signal counts as lost


@dataclass
class Early:
    """One early SIGTERM.

    masked    whether it was sent after the mask was seen
    sent      nanoseconds of CLOCK_MONOTONIC before and after kill(2)
    lost      whether the init did not end
    dropped   whether the kernel dropped it, because the init neither blocked nor caught it
    """

    pid: int
    masked: bool
    sent: tuple[int, int]
    lost: bool
    dropped: bool


def run(bench: Bench) -> Result:
    """Measure latency and loss for every init with a main child: signals to that child, and to its process group."""
    result = Result(NAME, "latency from kill(2) to the main child's handler; early signals lost",
                    ["init", "n", "p50", "p90", "p99", "max", "p50 / best peer", "p99 in a storm", "worst in a storm",
                     f"lost in the first {EARLY_WINDOW * 1000:.0f} ms", "of them before mask",
                     f"lost in {MASKED_WINDOW * 1000:.0f} ms after mask"])
    inits = variants(bench)
    latencies: dict[str, list[int]] = {}
    stormy: dict[str, list[int]] = {}
    for init in bench.turns(QUICK_TURNS if bench.quick else TURNS, [straight(), *inits], NAME):
        try:
            latencies.setdefault(init.name, []).extend(measure_latency(bench, init))
            if init.name != STRAIGHT:  # the receiver does not reap
                stormy.setdefault(init.name, []).extend(measure_in_storm(bench, init))
        except StartError as error:
            result.warn(f"{init.name}: {error}")
    add_rows(result, inits, latencies, stormy, measure_early(bench, inits))
    return result


def measure_early(bench: Bench, inits: list[Init]) -> dict[str, list[Early]]:
    """Send early signals to every init, half of them soon after the exec and half soon after the mask; return them."""
    outcomes: dict[str, list[Early]] = {}
    chance = random.Random(1)  # the same delays in each run
    if bench.tracer:
        bench.tracer.start_signals(signal.SIGTERM, os.getpid())
    for init in bench.turns(QUICK_EARLY if bench.quick else EARLY, inits, f"{NAME}: early signals"):
        for masked, window in ((False, EARLY_WINDOW), (True, MASKED_WINDOW)):
            early = send_early(bench, init, chance.random() * window, masked)
            if early:
                outcomes.setdefault(init.name, []).append(early)
    if bench.tracer:
        verdicts = bench.tracer.stop()
        for early in (one for many in outcomes.values() for one in many):
            early.dropped = any(event.fields["result"] == IGNORED for event in verdicts if event.fields["pid"] ==
                                early.pid and early.sent[0] <= event.time <= early.sent[1])
    return outcomes


def variants(bench: Bench) -> list[Init]:
    """Return the inits with a main child, and the A/A check.

    pyinit appears again with --stats. Each init that can forward to the process group appears again with that option.
    """
    inits = bench.of_kind(INIT)
    inits += [init.with_command([*init.command[:-1], "--stats=/dev/null", "--"], init.name + COUNTING)
              for init in inits if init.name == "pyinit"]
    groups = [init.with_command(init.group, init.name + GROUP) for init in inits if init.group]
    return bench.with_check([*inits, *groups])


def straight() -> Init:
    """Return an Init without a command: the receiver itself is PID 1."""
    return Init(STRAIGHT, INIT, [], own=True)


def measure_latency(bench: Bench, init: Init) -> list[int]:
    """Send a number of SIGUSR1; return the nanoseconds from before kill(2) to the main child's handler for each."""
    receiver = bench.generator.receiver(bench.name)
    with namespaces.start([*init.command, *receiver], mode=bench.mode, stdout=True) as running:
        wait_ready(init, running)
        result = []
        for _ in range(QUICK_SIGNALS if bench.quick else SIGNALS):
            result.append(time_signal(init, running))
            time.sleep(0.001)
        return result


def measure_in_storm(bench: Bench, init: Init) -> list[int]:
    """Measure as measure_latency() does, with as many signals as fit into a storm that the init must reap."""
    receiver = bench.generator.receiver(bench.name)
    with namespaces.start([*init.command, *receiver], bench.generator.storm(bench.name), mode=bench.mode,
                          stdout=True) as running:
        wait_ready(init, running)
        children = namespaces.adopted_children(running)
        result = []
        for storm in QUICK_STORM if bench.quick else STORM:
            running.helper.send(storm)
            while not running.helper.answered() or namespaces.adopted_children(running) > children:
                result.append(time_signal(init, running))
                time.sleep(0.0005)
            running.helper.receive(PATIENCE)
        return result


def wait_ready(init: Init, running: Running) -> None:
    """Wait until the main child is ready for signals and the init has settled. Raises StartError."""
    if read_stamp(running) != 0:
        raise StartError(f"{init.name}: the main child did not get ready")
    procfs.wait_settled(running.pid)


def time_signal(init: Init, running: Running) -> int:
    """Send SIGUSR1; return the nanoseconds from before kill(2) to the main child's handler. Raises StartError."""
    before = time.monotonic_ns()
    os.kill(running.pid, signal.SIGUSR1)
    stamp = read_stamp(running)
    if stamp is None:
        raise StartError(f"{init.name}: a signal did not arrive")
    return stamp - before


def read_stamp(running: Running) -> Optional[int]:
    """Return the main child's next time stamp in nanoseconds, or None if it does not come within 5 seconds."""
    readable, _, _ = select.select([running.from_main], [], [], 5)
    data = os.read(running.from_main, 8) if readable else b""
    return int.from_bytes(data, sys.byteorder) if len(data) == 8 else None


def send_early(bench: Bench, init: Init, delay: float, masked: bool) -> Optional[Early]:
    """Send SIGTERM `delay` seconds after the exec or, if `masked`, after the mask was set.

    The main child has the default disposition for SIGTERM, so the init ends unless the signal was lost. Returns None if
    the mask was never set.
    """
    patience = QUICK_PATIENCE if bench.quick else PATIENCE
    pid = namespaces.spawn([*init.command, *SLEEPING_MAIN], bench.mode)
    try:
        if masked and not wait_masked(pid):
            return None
        instant = time.monotonic() + delay
        while time.monotonic() < instant:
            pass  # a sleep would be too coarse
        kept = procfs.blocks_or_catches(pid, signal.SIGTERM)
        before = time.monotonic_ns()
        os.kill(pid, signal.SIGTERM)
        sent = (before, time.monotonic_ns())
        namespaces.wait_exit(pid, patience)
        return Early(pid, masked, sent, procfs.read_state(pid) != "Z", not kept)
    finally:
        namespaces.end(pid, bench.mode)


def wait_masked(pid: int) -> bool:
    """Wait until the process blocks or catches SIGTERM; return False if that takes longer than a second."""
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        if procfs.blocks_or_catches(pid, signal.SIGTERM):
            return True
    return False


def add_rows(result: Result, inits: list[Init], latencies: dict[str, list[int]], stormy: dict[str, list[int]],
             outcomes: dict[str, list[Early]]) -> None:
    """Add a row for each init, a chart, and notes."""
    everyone = [straight(), *inits]
    summaries = {init.name: summarise(latencies.get(init.name, [])) for init in everyone}
    ratios = Ratios([(init.name, init.own, summaries[init.name]["p50"]) for init in everyone])
    for init in everyone:
        summary, seen = summaries[init.name], outcomes.get(init.name, [])
        storm = summarise(stormy.get(init.name, []))
        first = [one for one in seen if not one.masked]
        after = [one for one in seen if one.masked]
        dropped = [one for one in first if one.lost and one.dropped]
        result.rows.append([init.name, str(summary["n"]), *(format_time(summary[key])
                                                            for key in ("p50", "p90", "p99", "max")),
                            ratios.show(summary["p50"]), format_time(storm["p99"]), format_time(storm["max"]),
                            show_lost(first),
                            str(len(dropped)) if first else NOTHING, show_lost(after)])
        result.data.append({"init": init.name, "latency_ns": summary, "p50_ratio": ratios.of(summary["p50"]),
                            "in_storm_ns": storm,
                            "early": len(first), "early_lost": sum(one.lost for one in first),
                            "early_dropped_by_kernel": len(dropped), "after_mask": len(after),
                            "after_mask_lost": sum(one.lost for one in after)})
    result.charts.append(chart_latencies("Signal latency to the main child", latencies))
    result.notes += [
        "the handler reads the clock; the sender's system call and one wakeup are in every row, also in that without "
        "an init",
        "in a storm: the same while orphans end flat out, and then some thousand in one instant; a loop that reaps all "
        "of them before it looks at its signals makes a signal wait for that long",
        f"lost: SIGTERM was sent to the init, and {QUICK_PATIENCE} to {PATIENCE} s later everything still ran, though "
        "the main child has the default disposition for it; moments are random and the same in each run",
        "before mask: the kernel drops a signal for PID 1 that is neither blocked nor caught (pid_namespaces(7)), "
        "which no init can help; after mask: the mask was seen to be set before the signal was sent"]
    note_noise(result, "p50", [ratios.noise])


def show_lost(sent: list[Early]) -> str:
    """Return how many signals were lost, of how many, as text."""
    return f"{sum(one.lost for one in sent)} of {len(sent)}" if sent else NOTHING
