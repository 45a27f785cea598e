"""An init or a pause that waits never wakes up: it has no timer, does not poll, and has no other thread."""

from __future__ import annotations

import os
import signal

import pytest

from support.inits import Init
from support.proc import open_files, pending_signals, read_status, sleeps, wait_until_idle
from support.processes import Running, shell
from support.selection import amount
from support.waiting import observe_for, wait_until

# Seconds, long enough to see the wakeups of a loop with a timeout of one second.
WINDOW = amount(1.2, 2.5)


def wakeups(pid: int) -> int:
    """Return the context switches of a process, proc(5): it has at least one for each wakeup."""
    status = read_status(pid)
    return int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])


def count_wakeups(pid: int) -> int:
    """Wait until a process sleeps; return how often it wakes up in WINDOW.

    Look up to three times: a timer wakes it up each time, but what it still had to do when it first slept only once.
    """
    count = 0
    for _ in range(3):
        wait_until(lambda: sleeps(pid), "it to sleep")
        before = wakeups(pid)
        observe_for(WINDOW)
        count = wakeups(pid) - before
        if not count:
            break
    return count


def settle(running: Running) -> int:
    """Wait until pyinit has taken a signal, and so is in its loop; return its PID."""
    running.expect("ready")
    running.send(signal.SIGWINCH)
    pid = running.pid
    wait_until_idle(pid)
    return pid


def test_idle_init_is_not_woken(init: Init) -> None:
    with init.start(shell("echo ready; read line")) as running:
        pid = settle(running)
        assert count_wakeups(pid) == 0
        assert len(os.listdir(f"/proc/{pid}/task")) == 1


def test_idle_pause_is_not_woken(pause_launcher: str) -> None:
    with Running([pause_launcher]) as running:
        wait_until(lambda: running.read_error(), "the warning")
        wait_until(lambda: not pending_signals(running.pid), "nothing to be pending")
        assert count_wakeups(running.pid) == 0


@pytest.mark.everything("observations of a second and more")
def test_what_wakes_up_is_seen() -> None:
    """The tests above can fail: they find a loop with a timeout of a second."""
    with Running(shell("echo ready; while true; do sleep 1; done")) as running:
        running.expect("ready")
        # A loaded machine may delay the loop for longer than the observation has more than a second.
        wait_until(lambda: count_wakeups(running.pid) > 0, "wakeups to be seen")


def test_nothing_is_held_open(init: Init, launcher: str) -> None:
    """pyinit keeps only the descriptors that it was given, and the one from which it reads its modules."""
    with init.start(shell("echo ready; read line")) as running:
        pid = settle(running)
        own = [] if init.reaper == "lean" else [launcher + ".pyc"]
        assert list(dict(sorted(open_files(pid).items())).values())[3:] == own
