"""Zombies and signals take turns: a storm of orphans delays no signal and no deadline, and no zombie is forgotten.

What is in what order is read from pyinit's own messages; nothing here measures time.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest
from support import (DEADLINE, TOGETHER, Init, Running, children_of, python, read_stat, scene, start_pause, stop,
                     wait_until, zombies_of)

from pyinit.supervisor import reaper
from pyinit.supervisor.reaper import BATCH, WaitReaper

MANY = 8 * BATCH
# Leaves orphans that end when a line comes, says when they have, and ends with 57 at the second line.
STORM = f"os.write(1, b'ready\\n')\nos.read(0, 1)\n{TOGETHER}"
IGNORES_TERM = f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{STORM}"
REAPED = b"reaped PID "


def make_zombies(running: Running) -> int:
    """Have MANY orphans end while pyinit is stopped; return its PID."""
    pid = running.pid
    stop(pid)
    running.write(b"\n")
    running.expect("done")
    wait_until(lambda: len(zombies_of(pid)) == MANY, f"{MANY} zombies")
    return pid


def reaped_before(log: bytes, text: bytes) -> int:
    """How many reaps are told of before a text, which must be there."""
    before, found, _ = log.partition(text)
    assert found, log[-2000:]
    return before.count(REAPED)


@pytest.mark.parametrize("options", [[], ["--stats=/dev/null"]], ids=["plain", "stats"])
def test_signal_amid_zombies(init: Init, options: list[str]) -> None:
    """The kernel hands out SIGCHLD before SIGWINCH, which has the higher number, and SIGCONT, used here, in between."""
    with init.start(scene(STORM, MANY), ["-vv", *options]) as running:
        running.expect("ready")
        pid = make_zombies(running)
        os.kill(pid, signal.SIGWINCH)
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: len(children_of(pid)) == 1, "all zombies to be reaped, without one more SIGCHLD")
        result = running.finish()
        assert result.code == 57
        assert reaped_before(result.err, b"forwarded SIGWINCH") <= 2 * BATCH


@pytest.mark.parametrize("options", [[], ["--stats=/dev/null"]], ids=["plain", "stats"])
def test_deadline_amid_zombies(init: Init, options: list[str]) -> None:
    with init.start(scene(IGNORES_TERM, MANY), ["-vv", "--kill-after", "0.01", *options]) as running:
        running.expect("ready")
        pid = make_zombies(running)
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        assert running.process.wait(DEADLINE) == 128 + signal.SIGKILL
        assert reaped_before(running.read_error(), b"has not ended in time") < MANY


def test_all_are_reaped_before_leaving(init: Init, tmp_path: os.PathLike) -> None:
    """The main child ends amid more zombies than fit into one turn: all are reaped and counted."""
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


def test_pause_amid_zombies(launcher: str, namespaces: bool) -> None:
    """SIGTERM comes in the middle of a storm: it ends the pause before the zombies do."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    argv = [*Init("pid1", []).prefix(), *python(STORMY_CHILD, str(MANY), launcher, "--pause", "-vv")]
    with start_pause(argv, "pid1") as running:
        pid = running.pid
        for _ in range(100):
            stop(pid)
            running.write(b"\n")
            running.expect("done")
            seen = running.read_error().count(REAPED)
            os.kill(pid, signal.SIGCONT)
            wait_until(lambda: running.read_error().count(REAPED) > seen, "the reaping to begin")
            stop(pid)
            if zombies_of(pid):
                break
            os.kill(pid, signal.SIGCONT)
        reaped, left = running.read_error().count(REAPED), len(zombies_of(pid))
        assert left, "never in the middle of a drain"
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        result = running.finish()
        assert (result.code, result.err.endswith(b"Shutting down, got signal: Terminated\n")) == (0, True)
        assert result.err.count(REAPED) - reaped <= min(BATCH, left)


# Has a child that makes argv[1] zombies whenever a line comes, and becomes the pause.
STORMY_CHILD = """
import os, sys
if os.fork() == 0:
    while os.read(0, 1):
        alive, hold = os.pipe()
        if os.fork() == 0:
            for _ in range(int(sys.argv[1])):
                os.fork() or os._exit(0)
            os._exit(0)
        os.wait()
        os.close(hold)
        os.read(alive, 1)
        os.write(1, b"done\\n")
    os._exit(0)
os.execv(sys.argv[2], sys.argv[2:])
"""


# The turns themselves, without a process.


class Kernel:
    """Stands in for the kernel: zombies and pending signals, of which the lowest number comes first."""

    def __init__(self, zombies: int, pending: list[int], children: int = 1) -> None:
        self.zombies = zombies
        self.pending = sorted(pending)
        self.children = children

    def reap_one(self) -> tuple[int, int]:
        if self.zombies:
            self.zombies -= 1
            return 1000 + self.zombies, 0
        if not self.children:
            raise ChildProcessError
        return 0, 0

    def sigpending(self) -> set[int]:
        return set(self.pending)

    def sigwait(self, waited) -> int:
        number = next(number for number in self.pending if number in waited)
        self.pending.remove(number)
        return number


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Callable[[Kernel], WaitReaper]:
    """Makes a reaper over a kernel that stands in."""
    def make(kernel: Kernel) -> WaitReaper:
        class Reaper(WaitReaper):
            reap_one = staticmethod(kernel.reap_one)

        monkeypatch.setattr(reaper, "sigpending", kernel.sigpending)
        monkeypatch.setattr(reaper, "sigwait", kernel.sigwait)
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
    assert one.wait() == signal.SIGCHLD  # that nothing is left is only known now
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


def test_steady_trickle_does_not_starve_high_signals(turns) -> None:
    """Each drain ends with its zombie, and the next SIGCHLD is pending already."""
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
    """The main child's status is told although the turn is over, and once."""
    kernel = Kernel(zombies=BATCH, pending=[], children=0)
    one = turns(kernel)
    one.watch(1000)
    assert one.drain() == 0
    assert one.unfinished and one.main_child is None
    one.wait()
    assert one.drain() is None
    assert one.childless
