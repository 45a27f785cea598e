"""pyinit takes turns between zombies and signals: a storm of orphans delays no signal and no deadline, and every zombie
is reaped.

The tests read the order of events from pyinit's messages, and measure no time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Optional

import pytest

from pyinit.supervisor import reaper
from pyinit.supervisor.reaper import BATCH, WaitReaper
from support.inits import Init
from support.orphans import TOGETHER, scene
from support.proc import children_of, read_stat, stop, zombies_of
from support.processes import Running, python, source, start_pause
from support.selection import amount
from support.settings import DEADLINE
from support.waiting import wait_until

MANY = amount(3, 8) * BATCH
# Leaves orphans that end at a line on stdin, writes "done" when all have ended, and ends with 57 at the second line.
STORM = f"os.write(1, b'ready\\n')\nos.read(0, 1)\n{TOGETHER}"
IGNORES_TERM = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{STORM}"
REAPED = b"reaped PID "


def make_zombies(running: Running) -> int:
    """Stop pyinit and make MANY orphans end; return pyinit's PID."""
    pid = running.pid
    stop(pid)
    running.write(b"\n")
    running.expect("done")
    wait_until(lambda: len(zombies_of(pid)) == MANY, f"{MANY} zombies")
    return pid


def reaped_before(log: bytes, text: bytes) -> int:
    """Return the number of reaps that the log reports before a text, which it must contain."""
    before, found, _ = log.partition(text)
    assert found, log[-2000:]
    return before.count(REAPED)


# The loop is the same in each mode. With --stats another loop counts, and takes turns as well.
@pytest.mark.usual("mode")
@pytest.mark.parametrize("options", [[], ["--stats=/dev/null"]], ids=["plain", "stats"])
def test_signal_amid_zombies(init: Init, options: list[str]) -> None:
    """pyinit forwards a signal between two batches of zombies. By their numbers, the kernel delivers SIGCHLD first,
    then SIGCONT, which the test sends, then SIGWINCH.
    """
    with init.start(scene(STORM, MANY), ["-vv", *options]) as running:
        running.expect("ready")
        pid = make_zombies(running)
        os.kill(pid, signal.SIGWINCH)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: len(children_of(pid)) == 1, "all zombies to be reaped, without one more SIGCHLD")
        result = running.finish()
        assert result.code == 57
        assert reaped_before(result.err, b"forwarded SIGWINCH") <= 2 * BATCH


# See test_signal_amid_zombies().
@pytest.mark.usual("mode")
@pytest.mark.parametrize("options", [[], ["--stats=/dev/null"]], ids=["plain", "stats"])
def test_deadline_amid_zombies(init: Init, options: list[str]) -> None:
    # A millisecond: MANY reaps may take less than ten.
    with init.start(scene(IGNORES_TERM, MANY), ["-vv", "--kill-after", "0.001", *options]) as running:
        running.expect("ready")
        pid = make_zombies(running)
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        assert running.process.wait(DEADLINE) == 128 + signal.SIGKILL
        assert reaped_before(running.read_error(), b"has not ended in time") < MANY


def test_all_are_reaped_before_leaving(init: Init, tmp_path: os.PathLike) -> None:
    """If the main child ends among more zombies than fit into one turn, all are reaped and counted."""
    stats = f"{tmp_path}/stats"
    with init.start(scene(STORM, MANY), ["-w", f"--stats={stats}"]) as running:
        running.expect("ready")
        pid = make_zombies(running)
        main_child = running.main_child
        running.process.stdin.close()
        wait_until(lambda: read_stat(main_child)[0] == "Z", "the main child to end")
        os.kill(pid, signal.SIGCONT)
        result = running.finish()
        assert (result.code, result.err.count(b"reaped zombie process")) == (57, MANY)
        with open(stats) as file:
            line = file.read()
        assert f'"orphans_reaped": {MANY}' in line and f'"most_zombies_in_one_drain": {MANY + 1}' in line


def test_pause_amid_zombies(launcher: str, namespaces: None) -> None:
    """SIGTERM in the middle of a storm ends the pause before all zombies are reaped."""
    argv = [*Init("pid1", []).prefix(), *python(STORMY_CHILD, str(MANY), launcher, "--pause", "-vv")]
    with start_pause(argv, "pid1") as running:
        pid = running.pid
        for before in range(0, 100 * MANY, MANY):  # the reaps of the earlier storms
            stop(pid)
            running.write(b"\n")
            running.expect("done")
            wait_until(lambda: len(zombies_of(pid)) == MANY, f"{MANY} zombies")
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: running.read_error().count(REAPED) > before, "the reaping to begin")
            stop(pid)
            if zombies_of(pid):
                break
            os.kill(pid, signal.SIGCONT)
        left = len(zombies_of(pid))
        assert left, "never in the middle of a drain"
        reaped = before + MANY - left  # the pause may have been stopped before its line about the last of them
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        result = running.finish()
        assert (result.code, result.err.endswith(b"Shutting down, got signal: Terminated\n")) == (0, True)
        assert result.err.count(REAPED) - reaped <= min(BATCH, left)


STORMY_CHILD = source("stormy_child")


# The turns of the reaper, without a process.


class Kernel:
    """A stand-in for the kernel: zombies and pending signals, which it delivers in the order of their numbers.

    After each look at the pending signals, it discards those in `discarded`, as SIGSTOP does with SIGCONT.
    """

    def __init__(self, zombies: int, pending: list[int], children: int = 1, discarded: Collection[int] = ()) -> None:
        self.zombies = zombies
        self.pending = sorted(pending)
        self.children = children
        self.discarded = discarded

    def reap_one(self) -> tuple[int, int]:
        if self.zombies:
            self.zombies -= 1
            return 1000 + self.zombies, 0
        if not self.children:
            raise ChildProcessError
        return 0, 0

    def sigpending(self) -> set[int]:
        found = set(self.pending)
        self.pending = [number for number in self.pending if number not in self.discarded]
        return found

    def sigwait(self, waited) -> int:
        taken = self.sigtimedwait(waited, 0)
        assert taken, "it would wait for ever"
        return taken.si_signo

    def sigtimedwait(self, waited, timeout: float) -> Optional[SimpleNamespace]:
        number = next((number for number in self.pending if number in waited), None)
        if number is None:
            return None
        self.pending.remove(number)
        return SimpleNamespace(si_signo=number)


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kernel], WaitReaper]:
    """Return a function that makes a reaper for a stand-in kernel."""
    def make(kernel: Kernel) -> WaitReaper:
        class Reaper(WaitReaper):
            reap_one = staticmethod(kernel.reap_one)

        for name in ("sigpending", "sigwait", "sigtimedwait"):
            monkeypatch.setattr(reaper, name, getattr(kernel, name))
        return Reaper()

    return make


def test_drain_is_bounded(turns) -> None:
    kernel = Kernel(zombies=3 * BATCH, pending=[])
    one = turns(kernel)
    one.drain()
    assert (kernel.zombies, one.unfinished, one.childless) == (2 * BATCH, True, False)
    for _ in range(2):
        assert one.wait() == signal.SIGCHLD  # at once, though none is pending
        one.drain()
    assert kernel.zombies == 0
    assert one.wait() == signal.SIGCHLD  # only this drain finds out that nothing is left
    one.drain()
    assert (one.unfinished, one.childless) == (False, False)


def test_high_signal_is_taken_between_drains(turns) -> None:
    kernel = Kernel(zombies=3 * BATCH, pending=[signal.SIGCHLD, signal.SIGWINCH, signal.SIGRTMAX])
    one = turns(kernel)
    one.drain()
    assert one.wait() == signal.SIGWINCH
    assert one.wait() == signal.SIGCHLD
    one.drain()
    assert one.wait() == signal.SIGRTMAX
    assert kernel.zombies == BATCH


def test_signal_that_is_discarded_between_drains(turns) -> None:
    """The reaping goes on. The end of the main child may be among the zombies that are left."""
    kernel = Kernel(zombies=BATCH + 1, pending=[signal.SIGCONT], discarded=[signal.SIGCONT])
    one = turns(kernel)
    one.drain()
    assert one.wait() == signal.SIGCHLD
    one.drain()
    assert kernel.zombies == 0


def test_steady_trickle_does_not_starve_high_signals(turns) -> None:
    """A high signal is taken although the next SIGCHLD is pending after each drain of one zombie."""
    kernel = Kernel(zombies=0, pending=[signal.SIGCHLD, signal.SIGWINCH])
    one = turns(kernel)
    for _ in range(BATCH):
        kernel.zombies = 1
        number = one.wait()
        if number == signal.SIGWINCH:
            return
        if signal.SIGCHLD not in kernel.pending:
            kernel.pending.insert(0, signal.SIGCHLD)
        one.drain()
    raise AssertionError("SIGWINCH was not taken")


def test_flood_of_signals_does_not_starve_the_reaping(turns) -> None:
    kernel = Kernel(zombies=5, pending=[signal.SIGUSR1] * (3 * BATCH) + [signal.SIGCHLD])
    one = turns(kernel)
    taken = [one.wait() for _ in range(BATCH + 2)]
    assert signal.SIGCHLD in taken


def test_last_child_in_a_full_turn(turns) -> None:
    """The main child's status is returned once, also if it ends a full turn."""
    kernel = Kernel(zombies=BATCH, pending=[], children=0)
    one = turns(kernel)
    one.watch(1000)
    assert one.drain() == 0
    assert one.unfinished and one.main_child is None
    one.wait()
    assert one.drain() is None
    assert one.childless
