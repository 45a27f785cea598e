"""What waits does not wake up: no timer, no polling, no thread."""

from __future__ import annotations

import os
import signal

from support import Init, Running, observe_for, open_files, read_stat, read_status, shell, wait_until

# Long enough to see a wake-up a second, which is what a timeout of one second in the loop makes.
WINDOW = 2.5


def wakeups(pid: int) -> int:
    """How often the process has slept, which is once for each time that it was woken, proc(5)."""
    status = read_status(pid)
    return int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])


def count_wakeups(pid: int) -> int:
    """How often a process that has gone to sleep wakes up while nothing happens."""
    wait_until(lambda: read_stat(pid)[0] == "S", "it to sleep")
    before = wakeups(pid)
    observe_for(WINDOW)
    return wakeups(pid) - before


def settle(running: Running) -> int:
    """A signal that has been forwarded says that pyinit is in its loop."""
    running.expect("ready")
    running.send(signal.SIGWINCH)
    pid = running.pid
    wait_until(lambda: not int(read_status(pid)["ShdPnd"], 16), "the signal to be taken")
    return pid


def test_idle_init_is_not_woken(init: Init) -> None:
    with init.start(shell("echo ready; read line")) as running:
        pid = settle(running)
        assert count_wakeups(pid) == 0
        assert len(os.listdir(f"/proc/{pid}/task")) == 1


def test_idle_pause_is_not_woken(pause_launcher: str) -> None:
    with Running([pause_launcher]) as running:
        wait_until(lambda: running.read_error(), "the warning")
        wait_until(lambda: not int(read_status(running.pid)["ShdPnd"], 16), "nothing to be pending")
        assert count_wakeups(running.pid) == 0


def test_what_wakes_up_is_seen() -> None:
    """The tests above can fail: a loop with a timeout of a second is found out."""
    with Running(shell("echo ready; while true; do sleep 1; done")) as running:
        running.expect("ready")
        assert count_wakeups(running.pid) > 0


def test_nothing_is_held_open(init: Init, launcher: str) -> None:
    """pyinit holds the descriptors that it was given, the one that it reads its modules from, and no other."""
    with init.start(shell("echo ready; read line")) as running:
        pid = settle(running)
        own = [] if init.reaper == "lean" else [launcher + ".pyc"]
        assert list(dict(sorted(open_files(pid).items())).values())[3:] == own
