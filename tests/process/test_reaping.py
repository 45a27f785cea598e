"""pyinit adopts and reaps orphans of every kind; under an init that does not reap, the same scenes leave zombies."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest

from pyinit.supervisor.reaper import WaitReaper
from support.inits import STAND_IN, Init
from support.orphans import (CLONES_FIRST, ON_DEMAND, ONE_BY_ONE, TOGETHER, ZOMBIES_FIRST, end_with_orphans, leave_all,
                             reap_all, scene)
from support.proc import children_of, read_stat, zombies_of
from support.processes import Running, python, run, shell, source
from support.sandbox import number_of
from support.settings import PYTHON
from support.waiting import wait_until

BOTH_REAPERS = True
# Each way to leave orphans: what the main child does, and how many orphans that leaves.
SCENES = {
    "one by one": (ONE_BY_ONE, 40),
    "together": (TOGETHER, 40),
    "daemons": ("for _ in range(count): orphan(os.setsid)", 20),
    "killed": ("for _ in range(count): orphan(lambda: os.kill(os.getpid(), 9))", 20),
    # Families of four that end in any order; no member waits for another.
    "families": ("for _ in range(count // 4): orphan(lambda: (os.fork(), os.fork()))", 32),
    # Each link forks the next and exits at once.
    "chain": ("""
def link(left):
    if left and os.fork() == 0:
        link(left - 1)
    os._exit(0)
if os.fork() == 0:
    link(count)
os.wait()""", 60),
    # They exit before their parent: pyinit adopts zombies.
    "zombies already": ("""
if os.fork() == 0:
    children = [os.fork() or os._exit(0) for _ in range(count)]
    for child in children:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    os._exit(0)
os.wait()""", 30),
}

LEADER_FIRST = source("leader_first")
HEIR = source("heir")


@pytest.mark.core
@pytest.mark.parametrize("name", SCENES)
def test_orphans_are_reaped(init: Init, name: str) -> None:
    body, count = SCENES[name]
    reap_all(init, scene(body, count), count)


@pytest.mark.parametrize("name", SCENES)
def test_orphans_are_left_without_a_reaper(stand_in: Init, name: str) -> None:
    body, count = SCENES[name]
    leave_all(stand_in, scene(body, count), count)


def test_orphans_are_reaped_through_each_way_in(any_init: Init) -> None:
    reap_all(any_init, scene(ONE_BY_ONE, 20), 20)


def start_leader_first(init: Init, gate: int):
    """Start a main child that leaves a process whose first thread ends before its second."""
    # The system call exit(2) ends one thread.
    return init.start(python(LEADER_FIRST, str(gate), str(number_of("exit"))), pass_fds=(gate,))


def test_first_thread_gone_first(init: Init) -> None:
    """A process whose first thread has ended looks like a zombie, but cannot be reaped before its last thread ends.
    pyinit reaps others in the meantime.
    """
    gate, opener = os.pipe()
    with start_leader_first(init, gate) as running:
        os.close(gate)
        running.expect("made")
        pid = running.pid
        wait_until(lambda: len(zombies_of(pid)) == 1, "the first thread to end")
        half_dead = zombies_of(pid)
        for _ in range(5):
            running.write(b"\n")
            running.expect("made")
        wait_until(lambda: len(children_of(pid)) == 2, "the others to be reaped")
        assert zombies_of(pid) == half_dead
        os.close(opener)
        wait_until(lambda: len(children_of(pid)) == 1, "the whole process to be reaped")
        assert running.finish().code == 57


def test_first_thread_gone_first_without_a_reaper(stand_in: Init) -> None:
    gate, opener = os.pipe()
    with start_leader_first(stand_in, gate) as running:
        os.close(gate)
        running.expect("made")
        pid = running.pid
        wait_until(lambda: len(zombies_of(pid)) == 1, "the first thread to end")
        for _ in range(5):
            running.write(b"\n")
            running.expect("made")
        os.close(opener)
        wait_until(lambda: len(zombies_of(pid)) == 6, "six zombies")


def test_init_within_init(init: Init, launcher: str) -> None:
    """The inner pyinit is the nearest subreaper and adopts all orphans; the outer one has only the inner one."""
    with init.start([launcher, "-s", "-w", "--", *scene(ONE_BY_ONE, 25)]) as running:
        running.expect("done")
        inner = running.main_child
        wait_until(lambda: len(children_of(inner)) == 1, "the inner one to reap")
        assert children_of(running.pid) == [inner]
        result = running.finish()
        assert (result.code, result.err.count(b"reaped")) == (57, 25)


def adopt_from_killed_init(init: Init, launcher: str):
    """Start an inner pyinit, below the main child, whose own main child kills it while its orphans still run."""
    body = TOGETHER + "\nos.kill(os.getppid(), 9)"
    return init.start(shell('exec 3<&0; "$@" <&3 3<&- & wait; exec 0<&- 3<&-; exec sleep 1000',
                            launcher, "-s", "--", *scene(body, 25)))


def test_orphans_of_a_killed_init(init: Init, launcher: str) -> None:
    with adopt_from_killed_init(init, launcher) as running:
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 2, "its orphans to be reaped, all but the one that still runs")
        running.process.stdin.close()
        wait_until(lambda: len(children_of(pid)) == 1, "the last one to be reaped")
        running.process.stdin = None
        running.send(signal.SIGTERM)
        assert running.finish().code == 143


def test_orphans_of_a_killed_init_without_a_reaper(stand_in: Init, launcher: str) -> None:
    with adopt_from_killed_init(stand_in, launcher) as running:
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(zombies_of(pid)) == 25, "25 zombies")


def test_children_had_before_exec(init: Init) -> None:
    """pyinit reaps zombies that its process had before it executed pyinit."""
    ready = python("import os; os.write(1, b'ready\\n'); os.read(0, 1)")
    for program, left in ((init.program, 0), (python(STAND_IN), 2)):
        one = Init(init.mode, program, init.reaper)
        with one.start(ready, inside=python(ZOMBIES_FIRST)) as running:
            running.expect("ready")
            pid = running.pid
            wait_until(lambda: len(children_of(pid)) == 1 + left, "just those that are expected")
            assert len(zombies_of(pid)) == left
            assert running.finish().code == 0


def test_clones_had_before_exec(init: Init) -> None:
    """pyinit also reaps children whose exit signal is not SIGCHLD; without __WALL, wait(2) passes over them."""
    with init.start(shell("echo ready; read line"), inside=python(CLONES_FIRST, str(number_of("clone")))) as running:
        running.expect("ready")
        wait_until(lambda: len(children_of(running.pid)) == 1, "the zombies to be reaped")


def test_orphans_that_ended_with_the_main_child(mode: str, launcher: str) -> None:
    """pyinit reaps each of them before it ends."""
    with Init(mode, [launcher]).start(scene(ON_DEMAND, 70), ["-w"]) as running:
        running.expect("ready")
        end_with_orphans(running, running.pid, 70)
        result = running.finish()
        assert (result.code, result.err.count(b"reaped zombie process with PID")) == (57, 70)


def test_no_zombie_is_left_to_the_next_reaper(launcher: str) -> None:
    """When a subreaper ends, the next one adopts the zombies that it has not reaped."""
    argv = Init("subreaper", [launcher]).argv(scene(ON_DEMAND, 70))
    with Running(python(HEIR, *argv)) as running:
        running.expect("ready")
        end_with_orphans(running, running.main_child, 70)
        running.expect("code 57 left 0")


def test_zombies_are_left_to_the_next_reaper_by_what_does_not_reap() -> None:
    """The test above can fail."""
    argv = Init("subreaper", python(STAND_IN)).argv(scene(ON_DEMAND, 70))
    with Running(python(HEIR, *argv)) as running:
        running.expect("ready")
        end_with_orphans(running, running.main_child, 70)
        running.expect("code 57 left 70")


def test_a_live_parent_keeps_its_zombie(init: Init) -> None:
    """An init cannot reap a zombie whose parent is alive."""
    body = "import os\nos.posix_spawn('/bin/true', ['true'], {})\nos.write(1, b'ready\\n')\nos.read(0, 1)"
    with init.start(python(body)) as running:
        running.expect("ready")
        child = running.main_child
        wait_until(lambda: len(zombies_of(child)) == 1, "the zombie")
        assert zombies_of(running.pid) == []
        assert running.finish().code == 0


# The options and variables with which pyinit adopts orphans if it is not PID 1.
ADOPTING = [([], {}), (["-s"], {}), ([], {"TINI_SUBREAPER": ""}), ([], {"TINI_VERBOSITY": "0"}),
            (["--as", "catatonit"], {}), (["--as", "tini", "-s"], {}), (["--as", "tini"], {"TINI_SUBREAPER": ""})]
# Those with which it does not, like the programs that it replaces, and the warning that it then logs.
NOT_ADOPTING = [(["--as", "tini"], {}, b"not PID 1 and not a subreaper"), (["--as", "dumb-init"], {}, b""),
                (["--as", "tini"], {"TINI_VERBOSITY": "0"}, b""), (["--as", "dumb-init", "-c"], {}, b"")]


def run_with_orphan(launcher: str, options: list[str], environ: dict[str, str]) -> tuple[bool, bytes]:
    """Run pyinit, not as PID 1, with an orphan; return whether it adopts the orphan, and what it logs."""
    body = "orphan(lambda: (os.close(go), os.read(start, 1)))\nos.write(1, b'ready\\n')\nos.read(0, 1)"
    with Running([launcher, *options, "--", *scene(body, 1)], env={**os.environ, **environ}) as running:
        running.expect("ready")
        adopted = len(children_of(running.pid)) == 2
        running.write(b"\n")
        running.expect("done")
        return adopted, running.finish().err


@pytest.mark.parametrize("options, environ", ADOPTING, ids=str)
def test_adopting_where_not_pid_1(launcher: str, options: list[str], environ: dict[str, str]) -> None:
    assert run_with_orphan(launcher, options, environ) == (True, b"")


@pytest.mark.parametrize("options, environ, warning", NOT_ADOPTING, ids=str)
def test_not_adopting_as_another_init(launcher: str, options: list[str], environ: dict[str, str],
                                      warning: bytes) -> None:
    """It logs at most one warning, that of tini."""
    adopted, err = run_with_orphan(launcher, options, environ)
    assert (adopted, err.count(b"\n"), warning in err) == (False, int(bool(warning)), True)


@pytest.mark.parametrize("way", ["launcher", "module"])
def test_orphans_are_reaped_without_an_option(way: str, launcher: str) -> None:
    """pyinit reaps orphans without -s also if it is not PID 1."""
    reap_all(Init("", [launcher] if way == "launcher" else [PYTHON, "-m", "pyinit"]), scene(ONE_BY_ONE, 20), 20)


def test_subreaper_that_executes_pyinit_is_one(launcher: str) -> None:
    """execve(2) keeps the subreaper attribute, so even as tini it does not warn."""
    assert run([launcher, "--as", "tini", "--", "true"],
               preexec_fn=lambda: ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)) == (0, b"", b"")


# Makes its parent its tracer, ptrace(2), and sends itself a signal, at which the kernel stops it.
TRACED = """
import ctypes, os, signal
signal.signal(signal.SIGUSR1, signal.SIG_DFL)
ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
os.kill(os.getpid(), signal.SIGUSR1)
os._exit(7)
"""


def test_signal_of_a_child_that_makes_pyinit_its_tracer(mode: str, launcher: str) -> None:
    """pyinit continues the child and delivers the signal that had stopped it."""
    assert Init(mode, [launcher]).run(python(TRACED)) == (128 + signal.SIGUSR1, b"", b"")


class Scripted(WaitReaper):
    """A reaper that takes the results of waitpid(2) from a list."""

    __slots__ = ("answers",)

    def reap_one(self) -> tuple[int, int]:
        return self.answers.pop(0)


def test_report_that_fails_costs_no_status() -> None:
    """The main child's status is kept if the report on it fails, as by a MemoryError."""
    def report(pid: int, status: int, is_main: bool) -> None:
        raise MemoryError

    reaper = Scripted(report)
    reaper.watch(11)
    reaper.answers = [(10, 0), (11, 7 << 8), (12, 0), (0, 0)]
    assert (reaper.drain(), reaper.answers) == (7 << 8, [])


def test_reaped_pid_is_free(init: Init) -> None:
    """A reaped process leaves /proc, and its PID is free again."""
    with init.start(scene("""
for _ in range(count): orphan(lambda: os.write(1, b'%d\\n' % os.getpid()))""", 5)) as running:
        lines = [running.read_line() for _ in range(6)]
        assert lines.pop() == "done"
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        if init.mode == "subreaper":
            assert [read_stat(int(line)) for line in lines] == [[]] * 5
        assert running.finish().code == 57
