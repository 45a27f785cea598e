"""Signals through the init to the main child: how late they are, and how many of the early ones are lost."""

from __future__ import annotations

import os
import random
import select
import signal
import sys
import time
from typing import Optional

from .. import namespaces, procfs
from ..bench import Bench
from ..inits import INIT, Init, find_program
from ..namespaces import Running, StartError
from ..percentiles import summarise
from ..report import NOTHING, Ratios, Result, format_time, note_noise

NAME = "forward"
SIGNALS, QUICK_SIGNALS = 500, 100
TURNS, QUICK_TURNS = 4, 1
EARLY, QUICK_EARLY = 200, 20

STRAIGHT = "no init: straight to it"
GROUP = " (to the group)"
EARLY_WINDOW = 0.010  # seconds after the exec within which early signals are sent
PATIENCE = 0.5  # seconds after which a signal is lost; whether it was is then seen by sending a second one


def run(bench: Bench) -> Result:
    """Measure both for every init that has a main child, to it alone and to its process group."""
    result = Result(NAME, "latency from kill(2) to the main child's handler; signals lost in the first "
                          f"{EARLY_WINDOW * 1000:.0f} ms", ["init", "n", "p50", "p90", "p99", "max", "p50 / best peer",
                                                            "early sent", "lost before mask", "lost after mask"])
    inits = variants(bench)
    latencies: dict[str, list[int]] = {}
    for init in bench.turns(QUICK_TURNS if bench.quick else TURNS, [straight(), *inits], NAME):
        try:
            latencies.setdefault(init.name, []).extend(measure_latency(bench, init))
        except StartError as error:
            result.warn(f"{init.name}: {error}")
    outcomes: dict[str, list[tuple[bool, bool]]] = {}
    chance = random.Random(1)  # the same moments in each run
    for init in bench.turns(QUICK_EARLY if bench.quick else EARLY, inits, f"{NAME}: early signals"):
        outcomes.setdefault(init.name, []).append(send_early(bench, init, chance.random() * EARLY_WINDOW))
    add_rows(result, inits, latencies, outcomes)
    return result


def variants(bench: Bench) -> list[Init]:
    """Every init with a main child, its group-forwarding command line where it has one, and the A/A check."""
    inits = bench.of_kind(INIT)
    groups = [init.with_command(init.group, init.name + GROUP) for init in inits if init.group]
    return bench.with_check([*inits, *groups])


def straight() -> Init:
    """No init at all: the receiver is PID 1 itself."""
    return Init(STRAIGHT, INIT, [], own=True)


def measure_latency(bench: Bench, init: Init) -> list[int]:
    """Nanoseconds from before kill(2) to the main child's handler, for each of a number of SIGUSR1."""
    receiver = bench.generator.receiver(bench.name)
    with namespaces.start([*init.command, *receiver], mode=bench.mode, stdout=True) as running:
        if read_stamp(running) != 0:
            raise StartError(f"{init.name}: the main child did not get ready")
        procfs.wait_settled(running.pid)
        result = []
        for _ in range(QUICK_SIGNALS if bench.quick else SIGNALS):
            before = time.monotonic_ns()
            os.kill(running.pid, signal.SIGUSR1)
            stamp = read_stamp(running)
            if stamp is None:
                raise StartError(f"{init.name}: a signal did not arrive")
            result.append(stamp - before)
            time.sleep(0.001)
        return result


def read_stamp(running: Running) -> Optional[int]:
    """The main child's next time stamp in nanoseconds; None when there is none within a few seconds."""
    readable, _, _ = select.select([running.from_main], [], [], 5)
    data = os.read(running.from_main, 8) if readable else b""
    return int.from_bytes(data, sys.byteorder) if len(data) == 8 else None


def send_early(bench: Bench, init: Init, delay: float) -> tuple[bool, bool]:
    """Send SIGTERM `delay` seconds after the exec; return whether the mask was set then, and whether it was lost.

    The main child has the default disposition for it, so that the whole ends unless the signal was lost.
    """
    pid = namespaces.spawn([*init.command, find_program("sleep"), "infinity"], bench.mode)
    instant = time.monotonic() + delay
    ended = False
    try:
        while time.monotonic() < instant:
            pass  # sleeping would be too coarse
        masked = procfs.blocks_or_catches(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGTERM)
        ended = wait_end(pid, PATIENCE)
        lost = not ended
        if lost:
            os.kill(pid, signal.SIGTERM)
            ended = wait_end(pid, PATIENCE)
        return masked, lost
    finally:
        if not ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def wait_end(pid: int, patience: float) -> bool:
    """Whether the process ends, and is waited for, within `patience` seconds."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return True
        time.sleep(0.0005)
    return False


def add_rows(result: Result, inits: list[Init], latencies: dict, outcomes: dict) -> None:
    """A row for each init; the ratio is to the best peer that forwards to the same."""
    everyone = [straight(), *inits]
    summaries = {init.name: summarise(latencies.get(init.name, [])) for init in everyone}
    ratios = Ratios([(init.name, init.own, summaries[init.name]["p50"]) for init in everyone])
    for init in everyone:
        summary, seen = summaries[init.name], outcomes.get(init.name, [])
        before = [lost for masked, lost in seen if not masked]
        after = [lost for masked, lost in seen if masked]
        result.rows.append([init.name, str(summary["n"]), *(format_time(summary[key])
                                                            for key in ("p50", "p90", "p99", "max")),
                            ratios.show(summary["p50"]), str(len(seen)) if seen else NOTHING,
                            show_lost(before), show_lost(after)])
        result.data.append({"init": init.name, "latency_ns": summary, "p50_ratio": ratios.of(summary["p50"]),
                            "early": len(seen), "before_mask": len(before), "lost_before_mask": sum(before),
                            "after_mask": len(after), "lost_after_mask": sum(after)})
    result.curves["Signal latency to the main child"] = {name: values for name, values in latencies.items() if values}
    result.notes += [
        "the handler reads the clock; the sender's system call and one wakeup are in every row, also in that without "
        "an init",
        f"lost: {PATIENCE} s later everything still ran; a second SIGTERM then ended it. Before its mask is set no init "
        "can help it: the kernel drops a signal for PID 1 that is neither blocked nor caught (pid_namespaces(7))",
        "moments are random and the same in each run; whether the mask was set is read just before the signal is sent"]
    note_noise(result, "p50", [ratios.noise])


def show_lost(lost: list[bool]) -> str:
    """How many were lost, of how many."""
    return f"{sum(lost)} of {len(lost)}" if lost else NOTHING
