"""With kernel reaping there is no zombie and no wakeup, pyinit still gets the main child's status, and a PID that is
reused gets no signal.

The modules that set BOTH_REAPERS prove that orphans are reaped, exit codes kept and signals forwarded.
"""

from __future__ import annotations

import os
import select
import signal
import time

import pytest

from pyinit.supervisor.kernel_reaper import PIDFD_GET_INFO
from support.family import LONG, code_of, end_main, start, wait_for_end_of_main
from support.inits import Init
from support.machine import kernel_can_reap
from support.orphans import ON_DEMAND, ZOMBIES_FIRST, scene
from support.proc import children_of, read_stat, read_status, stop, zombies_of
from support.processes import Running, python, shell, source
from support.sandbox import HeldCall
from support.selection import amount
from support.settings import DEADLINE, NAMESPACE
from support.waiting import wait_until
from test_idle import settle, wakeups
from test_pause import ORPHANS, enter

BOTH_REAPERS = True
WAIT = "import os\nos.write(1, b'ready\\n')\nos.read(0, 1)\nos._exit(57)"

# Makes its parent its tracer, ptrace(2), and executes a program, at which the kernel stops it.
TRACED = source("traced")
CHILDREN_FIRST = source("children_first")
PERSONALITIES = ["pyinit", "tini", "docker-init", "dumb-init", "catatonit"]
needs_kernel = pytest.mark.skipif(not kernel_can_reap(), reason="Linux is older than 6.15: --reap kernel falls back")


def ignores_sigchld(pid: int) -> bool:
    """Say whether a process ignores SIGCHLD and so leaves its children to the kernel, wait(2) NOTES."""
    return bool(int(read_status(pid).get("SigIgn", "0"), 16) >> (signal.SIGCHLD - 1) & 1)


def test_orphans_of_a_stopped_init(init: Init) -> None:
    """While pyinit is stopped, as by a CPU quota, the kernel reaps and the loop leaves zombies."""
    with init.start(scene(ON_DEMAND, 200)) as running:
        running.expect("ready")
        pid = running.pid
        if init.reaper == "kernel":
            wait_until(lambda: ignores_sigchld(pid), "SIGCHLD to be ignored")
        stop(pid)
        running.write(b"\n")
        running.expect("done")
        left = 0 if init.reaper == "kernel" else 200
        wait_until(lambda: len(children_of(pid)) == 1 + left, "just the zombies that are expected")
        wait_until(lambda: len(zombies_of(pid)) == left, "all to be zombies")
        os.kill(pid, signal.SIGCONT)
        assert running.finish().code == 57


def lasting_zombies(pid: int) -> set[int]:
    """Return the zombies that two looks find: the kernel itself needs an instant between exit and release."""
    return set(zombies_of(pid)) & set(zombies_of(pid))


def test_no_zombie_is_seen_in_a_storm(init: Init) -> None:
    """Kernel reaping leaves no zombies. A stopped loop shows that lasting_zombies() would find them."""
    with init.start(scene(ON_DEMAND, amount(500, 2000))) as running:
        running.expect("ready")
        pid = running.pid
        if init.reaper == "wait":
            stop(pid)
        else:
            wait_until(lambda: ignores_sigchld(pid), "SIGCHLD to be ignored")
        running.write(b"\n")
        seen: set[int] = set()
        end = time.monotonic() + DEADLINE
        over = False
        while not over and time.monotonic() < end:
            over = has_output(running)
            seen |= lasting_zombies(pid)  # also once after the storm: it may have been shorter than one look
        os.kill(pid, signal.SIGCONT)
        running.expect("done")
        assert bool(seen) == (init.reaper == "wait"), f"{len(seen)} zombies"
        assert running.finish().code == 57


def has_output(running: Running) -> bool:
    """Say whether the program has printed something that the test has not read yet."""
    return bool(select.select([running.process.stdout], [], [], 0)[0])


def test_orphans_do_not_wake_the_init(init: Init) -> None:
    with init.start(scene(ON_DEMAND, 1000)) as running:
        pid = settle(running)
        before = wakeups(pid)
        running.write(b"\n")
        running.expect("done")
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        woken = wakeups(pid) - before
        assert woken == 0 if init.reaper == "kernel" else woken > 0
        assert running.finish().code == 57


def test_main_child_ends_at_once(init: Init) -> None:
    """The main child may end before pyinit knows its PID: 200 tries, 40 in a plain run, by exit codes and signals."""
    commands = [("exit $1", code, code) for code in range(1, 101)]
    commands += [("kill -$1 $$", number, 128 + number) for number in (1, 2, 3, 9, 10, 13, 14, 15, 24, 25) * 10]
    for script, value, code in commands[::amount(5, 1)]:
        assert init.run(shell(script, str(value)), inside=["prlimit", "--core=0"]) == (code, b"", b"")


@pytest.mark.parametrize("ignored", [False, True])
def test_main_child_starts_with_sigchld_as_given(init: Init, ignored: bool) -> None:
    inside = ["env", "--ignore-signal=CHLD" if ignored else "--default-signal=CHLD"]
    with init.start(python(WAIT), inside=inside) as running:
        running.expect("ready")
        assert ignores_sigchld(running.main_child) == ignored
        assert running.finish().code == 57


def test_main_child_that_makes_pyinit_its_tracer(init: Init) -> None:
    """A traced main child stops, which is no end, and is continued. A tracer that ignores SIGCHLD sees no stop."""
    if init.reaper == "kernel":
        pytest.xfail("kernel reaping sees no stop of a traced main child: docs/ending.md")
    assert init.run(python(TRACED)) == (7, b"", b"")


def test_stopped_main_child_is_not_an_ended_one(init: Init) -> None:
    with init.start(python(WAIT)) as running:
        running.expect("ready")
        child = running.main_child
        stop(child)
        running.write(b"\n")
        os.kill(child, signal.SIGCONT)
        assert running.process.wait(DEADLINE) == 57


def test_children_from_before_exec_end_later(init: Init) -> None:
    """pyinit reaps children that it had before execve(2) when they end, and does not take them for the main child."""
    gate, opener = os.pipe()
    first = python(CHILDREN_FIRST, str(gate))
    with init.start(python(WAIT), inside=first, pass_fds=(gate,)) as running:
        os.close(gate)
        running.expect("ready")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 4, "three children and the main child")
        os.close(opener)
        wait_until(lambda: len(children_of(pid)) == 1, "the three to be reaped")
        assert running.finish() == (57, b"", b"")


TAKE_PID = source("take_pid")


@needs_kernel
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_reused_pid_is_spared(launcher: str, namespaces: None, needs_root: None, options: list[str]) -> None:
    """If the kernel has freed the main child's PID and pyinit does not know it yet, a signal must not go to the process
    that has the PID now.
    """
    inside = Init("subreaper", [launcher], "kernel").argv(python(TAKE_PID), options)
    with Running([*NAMESPACE, *shell('"$@"; echo $?; exec sleep 1000', *inside)], "pid1") as running:
        running.expect("ready")
        pid = children_of(running.pid)[0]
        wait_until(lambda: ignores_sigchld(pid), "SIGCHLD to be ignored")
        main = children_of(pid)[0]
        stop(pid)
        os.kill(main, signal.SIGKILL)
        wait_until(lambda: not read_stat(main), "the main child's PID to be free")
        running.write(b"\n")
        running.expect("same")
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        running.expect("137")
        running.write(b"\n")
        running.expect("spared")


@needs_kernel
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_pid_reused_while_a_signal_is_sent(launcher: str, namespaces: None, needs_root: None,
                                           options: list[str]) -> None:
    """The main child ends and another process gets its PID just when pyinit is about to send it a signal."""
    inside = Init("subreaper", [launcher], "kernel").argv(python(TAKE_PID), options)
    argv = [*NAMESPACE, *shell('"$@"; echo $?; exec sleep 1000', *inside)]
    with HeldCall("pidfd_send_signal", {1: signal.SIGTERM}) as held, Running(
            argv, "pid1", preexec_fn=held.install) as running:
        running.expect("ready")
        pid = children_of(running.pid)[0]
        main = children_of(pid)[0]
        os.kill(pid, signal.SIGTERM)
        held.wait()
        os.kill(main, signal.SIGKILL)
        wait_until(lambda: not read_stat(main), "the main child's PID to be free")
        running.write(b"\n")
        running.expect("same")
        held.release()
        if options:  # the group is empty: pyinit then tries the main child alone
            held.let_through()
        running.expect("137")
        running.write(b"\n")
        running.expect("spared")


@needs_kernel
def test_last_one_ends_while_the_status_is_read(mode: str, launcher: str) -> None:
    """The kernel reaps the last process without a SIGCHLD. pyinit still notices it, and does not wait for the grace."""
    init = Init(mode, [launcher], "kernel")
    command = shell("sleep 1000 & echo ready; read line; exit 57")
    with HeldCall("ioctl", {1: PIDFD_GET_INFO}) as held, init.start(command, ["--grace", "1000"],
                                                                     preexec_fn=held.install) as running:
        held.let_through()  # the call at the start, by which pyinit finds out whether the kernel supports it
        running.expect("ready")
        last, = children_of(running.main_child)
        running.write(b"\n")
        held.wait()
        os.kill(last, signal.SIGKILL)
        wait_until(lambda: not read_stat(last), "it to be reaped")
        held.release()
        assert running.finish().code == 57


@needs_kernel
@pytest.mark.parametrize("options", [["--wait-all"], ["--wait-all", "--grace", LONG]], ids=["wait-all", "grace"])
def test_main_child_ends_while_a_signal_is_sent(mode: str, launcher: str, options: list[str]) -> None:
    """The kernel has released the main child when pyinit sends it a termination signal: the others get the signal."""
    init = Init(mode, [launcher], "kernel")
    with HeldCall("pidfd_send_signal", {1: signal.SIGTERM}) as held, start(
            init, options, "polite", preexec_fn=held.install) as running:
        main = running.main_child
        running.send(signal.SIGTERM)
        held.wait()
        end_main(running)
        wait_for_end_of_main(running, main)
        held.release()
        running.expect("polite 15")
        assert code_of(running) == 40


@needs_kernel
@pytest.mark.parametrize("name", PERSONALITIES)
def test_each_personality(name: str, mode: str, launcher: str) -> None:
    """With PYINIT_REAP=kernel every personality still forwards signals and keeps the exit code."""
    init = Init(mode, [launcher, "--as", name])
    options = [] if mode == "pid1" else ["-s"] if name in ("tini", "docker-init", "pyinit") else []
    argv = [*init.prefix(), *init.program, *options, "--", *python(LISTEN)]
    with Running(argv, mode, env={**os.environ, "PYINIT_REAP": "kernel"}) as running:
        running.expect("ready")
        pid = running.pid
        wait_until(lambda: ignores_sigchld(pid), "SIGCHLD to be ignored")
        running.send(signal.SIGUSR1)
        running.expect("10")
        running.send(signal.SIGTERM)
        assert running.finish().code == 44


LISTEN = source("names_signals_of_group")

PAUSES: list[tuple[list[str], dict[str, str]]] = [
    (["--as", "pause"], {"PYINIT_REAP": "kernel"}), (["--pause", "--reap", "kernel"], {}),
    (["--as", "catatonit", "-P"], {"PYINIT_REAP": "kernel"})]


@pytest.mark.parametrize("arguments, environment", PAUSES, ids=["environment", "command line", "catatonit"])
def test_pause(launcher: str, namespaces: None, arguments: list[str], environment: dict[str, str]) -> None:
    """A pause needs no status and so works on any kernel; it also reaps children from before its start."""
    argv = [*NAMESPACE, *python(ZOMBIES_FIRST, launcher, *arguments)]
    with Running(argv, "pid1", env={**os.environ, **environment}) as running:
        pid = running.pid
        wait_until(lambda: ignores_sigchld(pid) and not children_of(pid), "the zombies to be reaped")
        stop(pid)
        with enter(pid, python(ORPHANS, "100")) as other:
            assert other.stdout.read() == b"done\n"
        # "done" says that the last orphan has closed its files, which it does before the kernel releases it.
        wait_until(lambda: not children_of(pid), "the kernel to reap while the pause is stopped")
        os.kill(pid, signal.SIGCONT)
        running.send(signal.SIGTERM)
        said = b"" if "catatonit" in arguments else b"Shutting down, got signal: Terminated\n"
        assert running.finish() == (0, b"", said)
