"""Orphans are adopted and reaped, in whatever way they come; the same scenes leave zombies where nobody reaps."""

from __future__ import annotations

import ctypes
import os
import signal

import pytest
from support import (CLONES_FIRST, ON_DEMAND, ONE_BY_ONE, STAND_IN, TOGETHER, ZOMBIES_FIRST, Init, Running, children_of,
                     end_with_orphans, leave_all, number_of, python, read_stat, reap_all, run, scene, shell, wait_until,
                     zombies_of)

from pyinit.supervisor.reaper import WaitReaper

BOTH_REAPERS = True
# Each way in which orphans come to be: what the main child does, and how many orphans that leaves.
SCENES = {
    "one by one": (ONE_BY_ONE, 40),
    "together": (TOGETHER, 40),
    "daemons": ("for _ in range(count): orphan(os.setsid)", 20),
    "killed": ("for _ in range(count): orphan(lambda: os.kill(os.getpid(), 9))", 20),
    # Families of four whose ends come in any order, and nobody waits for anybody.
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
    # They have exited before their parent has: what is adopted is zombies, and no exit of theirs is still to come.
    "zombies already": ("""
if os.fork() == 0:
    children = [os.fork() or os._exit(0) for _ in range(count)]
    for child in children:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    os._exit(0)
os.wait()""", 30),
}

# Makes an orphan whose first thread ends alone, as by pthread_exit(3), while its second waits for a byte; then one
# plain orphan for each line.
LEADER_FIRST = """
import ctypes, os, sys, threading

def wait_for_byte():
    os.read(int(sys.argv[1]), 1)
    os._exit(0)

def orphan(act):
    if os.fork() == 0:
        if os.fork() == 0:
            act()
        os._exit(0)
    os.wait()

def end_first_thread():
    threading.Thread(target=wait_for_byte).start()
    ctypes.CDLL(None).syscall(int(sys.argv[2]), 0)

orphan(end_first_thread)
while True:
    os.write(1, b"made\\n")
    if not os.read(0, 1):
        os._exit(57)
    orphan(lambda: None)
"""
# Adopts orphans, executes its argv as its child, and says with what exit code that ended and how many zombies it left.
HEIR = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
left = 0
try:
    while os.waitpid(-1, os.WNOHANG)[0]:
        left += 1
except ChildProcessError:
    pass
os.write(1, b"code %d left %d\\n" % (code, left))
"""


@pytest.mark.core
@pytest.mark.parametrize("name", SCENES)
def test_orphans_are_reaped(init: Init, name: str) -> None:
    body, count = SCENES[name]
    reap_all(init, scene(body, count), count)


@pytest.mark.parametrize("name", SCENES)
def test_orphans_are_left_without_a_reaper(stand_in: Init, name: str) -> None:
    body, count = SCENES[name]
    leave_all(stand_in, scene(body, count), count)


def test_orphans_are_reaped_through_both_ways_in(any_init: Init) -> None:
    reap_all(any_init, scene(ONE_BY_ONE, 20), 20)


def start_leader_first(init: Init, gate: int):
    """Start the scene of a process whose first thread ends before the second."""
    # exit(2) ends one thread.
    return init.start(python(LEADER_FIRST, str(gate), str(number_of("exit"))), pass_fds=(gate,))


def test_first_thread_gone_first(init: Init) -> None:
    """It looks like a zombie and is none that can be reaped until its last thread ends; others are reaped meanwhile."""
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
    """The inner one is the nearest subreaper and has all the orphans; the outer one has the inner one."""
    with init.start([launcher, "-s", "-w", "--", *scene(ONE_BY_ONE, 25)]) as running:
        running.expect("done")
        inner = running.main_child
        wait_until(lambda: len(children_of(inner)) == 1, "the inner one to reap")
        assert children_of(running.pid) == [inner]
        result = running.finish()
        assert (result.code, result.err.count(b"reaped")) == (57, 25)


def adopt_from_killed_init(init: Init, launcher: str):
    """Start an inner pyinit, not the main child, whose own main child kills it while its orphans still run."""
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
    """Children that a program had before it became pyinit are pyinit's from the start, and zombies already."""
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
    """Children whose exit signal is not SIGCHLD: wait(2) passes over those that ended before, but for __WALL."""
    with init.start(shell("echo ready; read line"), inside=python(CLONES_FIRST, str(number_of("clone")))) as running:
        running.expect("ready")
        wait_until(lambda: len(children_of(running.pid)) == 1, "the zombies to be reaped")


def test_orphans_that_ended_with_the_main_child(mode: str, launcher: str) -> None:
    """Each is reaped before pyinit ends."""
    with Init(mode, [launcher]).start(scene(ON_DEMAND, 70), ["-w"]) as running:
        running.expect("ready")
        end_with_orphans(running, running.pid, 70)
        result = running.finish()
        assert (result.code, result.err.count(b"reaped zombie process with PID")) == (57, 70)


def test_no_zombie_is_left_to_the_next_reaper(launcher: str) -> None:
    """As a subreaper, pyinit would hand on to the next one what it has not reaped when it ends."""
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
    """A zombie whose parent is alive is not an init's to reap."""
    body = "import os\nos.posix_spawn('/bin/true', ['true'], {})\nos.write(1, b'ready\\n')\nos.read(0, 1)"
    with init.start(python(body)) as running:
        running.expect("ready")
        child = running.main_child
        wait_until(lambda: len(zombies_of(child)) == 1, "the zombie")
        assert zombies_of(running.pid) == []
        assert running.finish().code == 0


def test_not_adopting_is_one_warning(launcher: str) -> None:
    """Neither PID 1 nor a subreaper: the warning of tini, once, and none where it is silenced."""
    result = run([launcher, "--", "sh", "-c", "exit 6"])
    assert result.code == 6
    assert result.err.startswith(b"pyinit: warning: not PID 1 and not a subreaper") and result.err.count(b"\n") == 1
    for name in ("TINI_VERBOSITY", "PYINIT_VERBOSITY"):
        assert run([launcher, "--", "true"], env={name: "0"}) == (0, b"", b"")
    for name in ("TINI_SUBREAPER", "PYINIT_SUBREAPER"):
        assert run([launcher, "--", "true"], env={name: ""}) == (0, b"", b"")


def test_subreaper_that_executes_pyinit_is_one(launcher: str) -> None:
    """execve(2) keeps the attribute: there is nothing to warn of."""
    assert run([launcher, "--", "true"], preexec_fn=lambda: ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)) == (0, b"", b"")


# Has its parent for a tracer, ptrace(2), and gets a signal, upon which the kernel stops it.
TRACED = """
import ctypes, os, signal
signal.signal(signal.SIGUSR1, signal.SIG_DFL)
ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
os.kill(os.getpid(), signal.SIGUSR1)
os._exit(7)
"""


def test_signal_of_a_child_that_makes_pyinit_its_tracer(mode: str, launcher: str) -> None:
    """It is let go on, and gets the signal that had stopped it."""
    assert Init(mode, [launcher]).run(python(TRACED)) == (128 + signal.SIGUSR1, b"", b"")


class Scripted(WaitReaper):
    """A reaper whose waitpid(2) answers from a list."""

    __slots__ = ("answers",)

    def reap_one(self) -> tuple[int, int]:
        return self.answers.pop(0)


def test_report_that_fails_costs_no_status() -> None:
    """As by a MemoryError, just when the main child is reaped."""
    def report(pid: int, status: int, is_main: bool) -> None:
        raise MemoryError

    reaper = Scripted(report)
    reaper.watch(11)
    reaper.answers = [(10, 0), (11, 7 << 8), (12, 0), (0, 0)]
    assert (reaper.drain(), reaper.answers) == (7 << 8, [])


def test_reaped_pid_is_free(init: Init) -> None:
    """What is reaped leaves /proc: its PID is free again."""
    with init.start(scene("""
for _ in range(count): orphan(lambda: os.write(1, b'%d\\n' % os.getpid()))""", 5)) as running:
        lines = [running.read_line() for _ in range(6)]
        assert lines.pop() == "done"
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        if init.mode == "subreaper":
            assert [read_stat(int(line)) for line in lines] == [[]] * 5
        assert running.finish().code == 57
