"""Once the mask is set, every signal reaches the main child, also in the main child's first instant.

Each try sends at another moment, drawn from a fixed seed. PYINIT_EARLY_SIGNALS sets the number of tries.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time

import pytest

from support.inits import Init
from support.proc import children_of, is_blocked, pending_signals, read_stat, wait_until_idle
from support.processes import Running, python, shell
from support.sandbox import HeldCall
from support.selection import amount
from support.settings import DEADLINE
from test_signals import LISTENER

BOTH_REAPERS = True
TRIES = int(os.environ.get("PYINIT_EARLY_SIGNALS", amount(20, 120)))
# Seconds in which pyinit starts the main child, and the main child starts.
WINDOW = 0.008


def wait_for_mask(running, deadline: float) -> int:
    """Wait, without a pause, until pyinit blocks signals; return its PID.

    In sigwait(3) the kernel shows no signal as blocked. By then pyinit has a main child, so look for that as well.
    """
    pid = 0
    while time.monotonic() < deadline:
        if not pid:
            pid = next(iter(children_of(running.process.pid)), 0) if running.mode == "pid1" else running.process.pid
        # Not SIGTERM or SIGINT, which unshare(1) itself blocks for a moment.
        elif is_blocked(pid, signal.SIGHUP) or children_of(pid):
            return pid
    raise AssertionError("pyinit never blocked SIGHUP")


def send_at(pid: int, number: int, delay: float) -> None:
    """Send a signal after a delay in seconds, without a sleep, which would not be exact enough."""
    end = time.monotonic() + delay
    while time.monotonic() < end:
        pass
    os.kill(pid, number)


@pytest.mark.core
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_early_signal_reaches_the_main_child(init: Init, options: list[str]) -> None:
    """The main child has the default dispositions: it ends if the signal arrives, and otherwise never.

    The signals include SIGINT, for which CPython has its own handler: once the mask is set there is no traceback.
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
    """A main child that starts with the signal blocked finds it pending."""
    take = "import os, signal; os.write(1, b'%d\\n' % signal.sigwait({signal.SIGTERM}))"
    moments = random.Random(2)
    for _ in range(TRIES // 4):
        with init.start(python(take), inside=["env", "--block-signal=TERM"]) as running:
            pid = wait_for_mask(running, time.monotonic() + DEADLINE)
            send_at(pid, signal.SIGTERM, moments.uniform(0, WINDOW))
            running.expect("15")
            assert running.finish().code == 0


def test_several_early_signals_all_arrive(init: Init) -> None:
    """Three signals that the main child blocks from its start all become pending."""
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


# Executes its argv with a blocked signal pending.
PENDING_FIRST = """
import os, signal, sys
number = int(sys.argv[1])
signal.pthread_sigmask(signal.SIG_BLOCK, {number})
os.kill(os.getpid(), number)
os.execvp(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("number", [signal.SIGTTIN, signal.SIGTTOU, signal.SIGHUP])
def test_signal_pending_before_exec(init: Init, number: int) -> None:
    """execve(2) keeps pending signals, and pyinit forwards them, even those that it ignores for itself."""
    with init.start(python(LISTENER), inside=python(PENDING_FIRST, str(int(number)))) as running:
        running.expect("ready")
        running.send(signal.SIGRTMAX)  # forwarded after it: the lower number comes first
        running.expect(str(int(number)))
        running.expect("64")


def test_main_child_has_its_group_before_it_has_run(init: Init) -> None:
    """pyinit and the main child both call setpgid(2): when the main child is held before its call, it has its group."""
    with HeldCall("setpgid", {0: 0}) as held, init.start(
            python(LISTENER), ["-g"], inside=["env", "--block-signal=USR1"], preexec_fn=held.install) as running:
        child = held.wait()
        running.send(signal.SIGUSR1)
        wait_until_idle(running.pid)  # it has forwarded the signal
        assert (pending_signals(child), read_stat(child)[2]) == (1 << signal.SIGUSR1 - 1, str(child))
        held.release()
        running.expect("ready")
        running.expect("10")


def test_signal_before_the_session_is_made(init: Init) -> None:
    """A main child that leads a session makes its group itself. An earlier signal goes to the main child alone."""
    argv = [*init.prefix(), *init.program, "--as", "dumb-init", *shell("echo ran; exit 7")]
    environment = {**os.environ, "PYINIT_REAP": init.reaper}
    # setsid(2) has no arguments to compare.
    with HeldCall("setsid", {}) as held, Running(argv, init.mode, preexec_fn=held.install, env=environment) as running:
        held.wait()
        running.send(signal.SIGTERM)
        wait_until_idle(running.pid)  # it has forwarded the signal
        held.release()
        assert running.finish() == (143, b"", b"")


def test_child_that_ends_at_once(any_init: Init) -> None:
    """If SIGCHLD comes before the first sigwait(3), the reaping at the start finds the main child."""
    for _ in range(amount(5, 20)):
        assert any_init.run(shell("exit 3")).code == 3


@pytest.mark.core
def test_sigchld_ignored_at_start(any_init: Init) -> None:
    """A process that ignores SIGCHLD never sees a child end, waitpid(2): pyinit must not inherit that."""
    assert any_init.run(shell("exit 42"), inside=["env", "--ignore-signal=CHLD"]).code == 42


def test_sigchld_blocked_at_start(any_init: Init) -> None:
    assert any_init.run(shell("exit 42"), inside=["env", "--block-signal=CHLD"]).code == 42


def test_every_signal_ignored_at_start(init: Init) -> None:
    """A blocked signal becomes pending even if it is ignored, so pyinit forwards it and the main child decides."""
    # A handler in Python does not run during a pause(2) that begins as the signal comes.
    code = "import os, signal, time; signal.signal(10, lambda *_: os._exit(6)); os.write(1, b'ready\\n')\n" \
           "while True: time.sleep(0.01)"
    with init.start(python(code), inside=["env", "--ignore-signal"]) as running:
        running.expect("ready")
        running.send(signal.SIGUSR1)
        assert running.finish().code == 6
