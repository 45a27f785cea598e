"""In a long run pyinit leaves no zombie and loses no signal, and its memory and descriptors do not grow.

PYINIT_SOAK_SECONDS sets the length in seconds.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest

from support.inits import Init
from support.proc import children_of, pending_signals, read_status, waits_for_signals
from support.processes import Running, python, source
from support.waiting import wait_until

SECONDS = float(os.environ.get("PYINIT_SOAK_SECONDS", "3"))

WORKER = source("soak_worker")


@pytest.mark.everything("long runs")
@pytest.mark.timeout(SECONDS * 3 + 120)
@pytest.mark.parametrize("options", [[], ["-g", "-w"]], ids=["plain", "options"])
def test_soak(init: Init, options: list[str]) -> None:
    generator = random.Random(4)
    with init.start(python(WORKER), options, stderr=subprocess.DEVNULL) as running:
        running.expect("ready")
        for _ in range(30):
            round_of(running, generator)  # so that all that is loaded only once has been loaded
        before = measure(running)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            round_of(running, generator)
        assert measure(running) == before
        assert running.finish().code == 33


def round_of(running: Running, generator: random.Random) -> None:
    """Make the worker leave many orphans, and send some signals in the meantime."""
    running.write(b"x")
    for _ in range(generator.randrange(5)):
        running.send(signal.SIGRTMIN)
    running.read_line()


def measure(running: Running) -> dict[str, object]:
    """Wait until pyinit has reaped all orphans and is idle: it opens a descriptor for a message. Return what must not
    grow: its data memory, threads and descriptors.
    """
    pid = running.pid
    wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
    wait_until(lambda: not pending_signals(pid) and waits_for_signals(pid), "pyinit to be idle")
    status = read_status(pid)
    return {"memory": status["VmData"], "threads": status["Threads"],
            "descriptors": sorted(os.listdir(f"/proc/{pid}/fd"))}


def test_all_signals_of_a_soak_arrive(init: Init) -> None:
    """As many signals arrive as were sent."""
    sent = 0
    with init.start(python(WORKER)) as running:
        running.expect("ready")
        for _ in range(40):
            running.write(b"x")
            for _ in range(5):
                running.send(signal.SIGRTMIN)
                sent += 1
            got = int(running.read_line())
        while got < sent:
            running.write(b"x")
            got = int(running.read_line())
        assert got == sent
        assert running.finish().code == 33
