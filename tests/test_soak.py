"""Long runs: no zombie, no descriptor and no memory is left over. PYINIT_SOAK_SECONDS sets the length."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from support import Init, Running, children_of, python, read_status, wait_until

SECONDS = float(os.environ.get("PYINIT_SOAK_SECONDS", "3"))
# For each byte read leaves a mixed lot of orphans and says so; says each signal that it gets, too.
WORKER = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
os.write(1, b"ready\\n")
got = 0
while os.read(0, 1):
    for kind in range(20):
        if os.fork() == 0:
            if os.fork() == 0:
                if kind % 3 == 0:
                    os.fork()
                if kind % 4 == 0:
                    os.setsid()
                if kind % 5 == 0:
                    os.kill(os.getpid(), 9)
            os._exit(0)
        os.wait()
    while signal.sigtimedwait({signal.SIGRTMIN}, 0):
        got += 1
    os.write(1, b"%d\\n" % got)
os._exit(33)
"""


@pytest.mark.timeout(SECONDS * 3 + 120)
@pytest.mark.parametrize("options", [[], ["-g", "-w"]], ids=["plain", "options"])
def test_soak(init: Init, options: list[str]) -> None:
    generator = random.Random(4)
    with init.start(python(WORKER), options, stderr=subprocess.DEVNULL) as running:
        running.expect("ready")
        for _ in range(30):
            round_of(running, generator)  # warm: whatever is loaded once is loaded
        before = measure(running)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            round_of(running, generator)
        wait_until(lambda: len(children_of(running.pid)) == 1, "all orphans to be reaped")
        assert measure(running) == before
        assert running.finish().code == 33


def round_of(running: Running, generator: random.Random) -> None:
    """A lot of orphans, and some signals amid it."""
    running.write(b"x")
    for _ in range(generator.randrange(5)):
        running.send(signal.SIGRTMIN)
    running.read_line()


def measure(running: Running) -> dict[str, object]:
    """What must not grow: memory that is pyinit's own, threads, descriptors."""
    status = read_status(running.pid)
    return {"memory": status["VmData"], "threads": status["Threads"],
            "descriptors": sorted(os.listdir(f"/proc/{running.pid}/fd"))}


def test_all_signals_of_a_soak_arrive(init: Init) -> None:
    """As above with the signals counted: as many arrive as were sent."""
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
