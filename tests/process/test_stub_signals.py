"""From the stub's first system call on, a signal at any moment is forwarded, except the two that CPython ignores.

Each try has another signal and moment, drawn from a fixed seed. PYINIT_EARLY_SIGNALS sets the number of tries; a run
with --everything has 2,000 in all.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from pathlib import Path

import pytest

from pyinit.launcher import install
from pyinit.lean import MACHINES
from pyinit.linux.signal_names import signal_name
from support.inits import Init
from support.proc import children_of, is_blocked
from support.processes import Running
from support.selection import amount
from support.settings import DEADLINE, FORWARDED, PYTHON
from support.waiting import wait_until

pytestmark = pytest.mark.skipif(os.uname().machine not in MACHINES, reason="no stub for this machine")

TRIES = int(os.environ.get("PYINIT_EARLY_SIGNALS", amount(20, 500)))
# Seconds from the stub's first system call to pyinit's first wait, with all that -vvv loads.
WINDOW = 0.03
# CPython ignores these two from its start, which discards pending ones, sigaction(2).
DISCARDED = {signal.SIGPIPE, signal.SIGXFSZ}
SENT = [number for number in FORWARDED if number not in DISCARDED]


def find_stub(running: Running) -> int:
    """Wait, without a pause, until the stub blocks signals; return its PID."""
    pid, end = 0, time.monotonic() + DEADLINE
    while time.monotonic() < end:
        if not pid:
            pid = next(iter(children_of(running.process.pid)), 0) if running.mode == "pid1" else running.process.pid
        elif is_blocked(pid, signal.SIGHUP):  # unshare(1) blocks SIGTERM and SIGINT itself for a moment
            return pid
    raise AssertionError("the stub never blocked SIGHUP")


@pytest.mark.core
@pytest.mark.timeout(600)
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_signal_at_any_moment_is_forwarded(mode: str, launcher: str, options: list[str], tmp_path: Path) -> None:
    """pyinit logs that it forwards the signal. No signal, not even SIGINT, ends the start or causes a traceback."""
    init, chance = Init(mode, [launcher]), random.Random(4)
    for attempt in range(TRIES):
        number, delay = chance.choice(SENT), chance.uniform(0, WINDOW)
        # The test reads the file by its path: the descriptor shares its offset with pyinit's, dup(2).
        error = tmp_path / "stderr"
        with open(error, "w+b", buffering=0) as file, \
                init.start(["sleep", "1000"], ["-vvv", *options], stderr=file) as running:
            pid = find_stub(running)
            end = time.monotonic() + delay
            while time.monotonic() < end:  # no sleep is exact enough
                pass
            os.kill(pid, number)
            # CPython before 3.11 has no name for SIGSTKFLT.
            line = re.compile(rf"forwarded ({re.escape(signal_name(number))}|{int(number)})\n".encode())
            what = f"{signal_name(number)} in try {attempt}, {delay * 1000:.3f} ms after the mask, to be forwarded"
            wait_until(lambda: line.search(error.read_bytes()) or running.process.poll() is not None, what)
            assert line.search(error.read_bytes()), what
            for child in children_of(pid):  # it may have ignored the signal, or have stopped
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            assert running.finish().code in (128 + number, 128 + signal.SIGKILL)


@pytest.mark.core
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGSEGV, signal.SIGRTMAX],
                         ids=signal_name)
def test_signal_before_the_interpreter(mode: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal that comes before CPython runs is forwarded. A script in place of the interpreter waits for the test."""
    waiting = tmp_path / "python"
    waiting.write_text(f'#!/bin/sh\necho waiting; read line; exec "{PYTHON}" "$@"\n')
    waiting.chmod(0o755)
    monkeypatch.setattr("pyinit.launcher.stub.find_versioned", lambda *_: str(waiting))
    install.install(str(tmp_path / "pyinit"), PYTHON)
    with Init(mode, [str(tmp_path / "pyinit")]).start(["sleep", "1000"]) as running:
        running.expect("waiting")
        assert all(is_blocked(running.pid, other) for other in FORWARDED)
        running.send(number)
        running.write(b"\n")
        assert running.finish() == (128 + number, b"", b"")
