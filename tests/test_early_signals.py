"""Every signal that comes once the mask is set reaches the main child, also in its first instant.

Set PYINIT_EARLY_SIGNALS to try more often than the short default.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest
from support import (DEADLINE, HeldCall, Init, Running, children_of, is_blocked, python, read_stat, read_status, shell,
                     wait_until)
from test_signals import LISTENER

BOTH_REAPERS = True
TRIES = int(os.environ.get("PYINIT_EARLY_SIGNALS", "120"))
# The window in which pyinit starts the main child, and that starts, in seconds.
WINDOW = 0.008


def wait_for_mask(running, deadline: float) -> int:
    """Wait, without pause, for pyinit to block signals; return its PID.

    In its sigwait(3) the kernel shows none as blocked: a main child says as well that pyinit has come that far.
    """
    pid = 0
    while time.monotonic() < deadline:
        if not pid:
            pid = next(iter(children_of(running.process.pid)), 0) if running.mode == "pid1" else running.process.pid
        # SIGHUP: unshare(1) blocks SIGTERM and SIGINT itself for a moment.
        elif is_blocked(pid, signal.SIGHUP) or children_of(pid):
            return pid
    raise AssertionError("pyinit never blocked SIGHUP")


def send_at(pid: int, number: int, delay: float) -> None:
    """Send a signal after a delay that no sleep is exact enough for."""
    end = time.monotonic() + delay
    while time.monotonic() < end:
        pass
    os.kill(pid, number)


@pytest.mark.core
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_early_signal_reaches_the_main_child(init: Init, options: list[str]) -> None:
    """The main child has the default disposition: if the signal arrives it ends by it, else it would never end.

    SIGINT is among them, for which CPython has a handler of its own: never a traceback once the mask is set.
    """
    moments = random.Random(1)
    for attempt in range(TRIES):
        delay = moments.uniform(0, WINDOW)
        number = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)[attempt % 3]
        with init.start(["sleep", "1000"], options) as running:
            pid = wait_for_mask(running, time.monotonic() + DEADLINE)
            send_at(pid, number, delay)
            try:
                result = running.finish()
            except subprocess.TimeoutExpired:
                raise AssertionError(f"lost in try {attempt}, {delay * 1000:.3f} ms after the mask") from None
            assert result == (128 + number, b"", b"")


def test_early_signal_with_a_mask_at_entry(init: Init) -> None:
    """A main child that starts with the signal blocked finds it pending, and takes it."""
    take = "import os, signal; os.write(1, b'%d\\n' % signal.sigwait({signal.SIGTERM}))"
    moments = random.Random(2)
    for _ in range(TRIES // 4):
        with init.start(python(take), inside=["env", "--block-signal=TERM"]) as running:
            pid = wait_for_mask(running, time.monotonic() + DEADLINE)
            send_at(pid, signal.SIGTERM, moments.uniform(0, WINDOW))
            running.expect("15")
            assert running.finish().code == 0


def test_several_early_signals_all_arrive(init: Init) -> None:
    """Three signals that the main child blocks from the start: all three are pending in the end."""
    take = ("import os, signal; rest = {10, 12, 34}\n"
            "while rest: rest.discard(int(signal.sigwait(rest)))\n"
            "os.write(1, b'all\\n')")
    moments = random.Random(3)
    for _ in range(TRIES // 4):
        with init.start(python(take), inside=["env", "--block-signal=USR1,USR2,RTMIN"]) as running:
            pid = wait_for_mask(running, time.monotonic() + DEADLINE)
            for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN):
                send_at(pid, number, moments.uniform(0, WINDOW / 3))
            running.expect("all")
            assert running.finish().code == 0


# Has a signal pending that it blocks, and executes its argv.
PENDING_FIRST = """
import os, signal, sys
number = int(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, {number})
os.kill(os.getpid(), number)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP])
def test_signal_pending_before_exec(init: Init, number: int) -> None:
    """execve(2) keeps it, and it is the main child's: those that pyinit ignores for itself are not thrown away."""
    with init.start(python(LISTENER), inside=python(PENDING_FIRST, str(number))) as running:
        running.expect("ready")
        running.send(signal.SIGRTMAX)  # would be forwarded after it: the lower number comes first
        running.expect(str(number))
        running.expect("64")


def pending(pid: int) -> int:
    """The signals that are pending for a process, proc(5), bit N - 1 for signal N."""
    return int(read_status(pid)["ShdPnd"], 16)


def wait_for_forwarding(pid: int) -> None:
    """Wait until pyinit has taken all signals and sleeps in its loop again."""
    wait_until(lambda: not pending(pid) and read_stat(pid)[0] == "S", "the signal to be forwarded")


def test_main_child_has_its_group_before_it_has_run(init: Init) -> None:
    """Both sides set it, setpgid(2): the main child, which is held here before it does, finds it set."""
    with HeldCall("setpgid", {0: 0}) as held, init.start(
            python(LISTENER), ["-g"], inside=["env", "--block-signal=USR1"], preexec_fn=held.install) as running:
        child = held.wait()
        running.send(signal.SIGUSR1)
        wait_for_forwarding(running.pid)
        assert (pending(child), read_stat(child)[2]) == (1 << signal.SIGUSR1 - 1, str(child))
        held.release()
        running.expect("ready")
        running.expect("10")


def test_signal_before_the_session_is_made(init: Init) -> None:
    """A main child that leads a session makes its group itself; a signal that comes before goes to it alone."""
    argv = [*init.prefix(), *init.program, "--as", "dumb-init", *shell("echo ran; exit 7")]
    environment = {**os.environ, "PYINIT_REAP": init.reaper}
    # setsid(2) has no argument that a filter could look at.
    with HeldCall("setsid", {}) as held, Running(argv, init.mode, preexec_fn=held.install, env=environment) as running:
        held.wait()
        running.send(signal.SIGTERM)
        wait_for_forwarding(running.pid)
        held.release()
        assert running.finish() == (143, b"", b"")


def test_child_that_ends_at_once(any_init: Init) -> None:
    """Its SIGCHLD comes before the first wait: the sweep at the start finds it."""
    for _ in range(20):
        assert any_init.run(shell("exit 3")).code == 3


@pytest.mark.core
def test_sigchld_ignored_at_start(any_init: Init) -> None:
    """waitpid(2): a process that ignores SIGCHLD never sees a child; pyinit must not inherit that."""
    assert any_init.run(shell("exit 42"), inside=["env", "--ignore-signal=CHLD"]).code == 42


def test_sigchld_blocked_at_start(any_init: Init) -> None:
    assert any_init.run(shell("exit 42"), inside=["env", "--block-signal=CHLD"]).code == 42


def test_every_signal_ignored_at_start(init: Init) -> None:
    """Ignored signals are queued all the same while they are blocked, and forwarded: the main child decides."""
    code = "import os, signal; signal.signal(10, lambda *_: os._exit(6)); os.write(1, b'ready\\n'); signal.pause()"
    with init.start(python(code), inside=["env", "--ignore-signal"]) as running:
        running.expect("ready")
        running.send(signal.SIGUSR1)
        assert running.finish().code == 6
