"""Reaping by the kernel: no zombie and no wakeup, the main child's status all the same, and what it falls back from.

That orphans are reaped, and exit codes and signals kept, is in the modules that say BOTH_REAPERS.
"""

from __future__ import annotations

import errno
import os
import platform
import select
import signal
import time
from pathlib import Path

import pytest
from support import (DEADLINE, NAMESPACE, ONE_BY_ONE, ON_DEMAND, ZOMBIES_FIRST, HeldCall, Init, Running, Terminal,
                     children_of, kernel_can_reap, python, read_stat, read_status, refuse_call, run, scene, shell, stop,
                     wait_until, zombies_of)
from test_idle import wakeups
from test_pause import ORPHANS, enter

from pyinit.supervisor.kernel_reaper import PIDFD_GET_INFO

BOTH_REAPERS = True

FALLS_BACK = b"pyinit: warning: --reap kernel is not possible here ("
WAIT = "import os\nos.write(1, b'ready\\n')\nos.read(0, 1)\nos._exit(57)"
# Has its parent for a tracer, ptrace(2), and executes a program, upon which the kernel stops it.
TRACED = """
import ctypes, os
ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
os.execv("/bin/sh", ["sh", "-c", "exit 7"])
"""
# Has three children that wait for the end of a pipe, and executes its argv.
CHILDREN_FIRST = """
import os, sys
gate = int(sys.argv[1])
for code in (1, 2, 3):
    if os.fork() == 0:
        os.read(gate, 1)
        os._exit(code)
os.close(gate)
os.execvp(sys.argv[2], sys.argv[2:])
"""
PERSONALITIES = ["pyinit", "tini", "docker-init", "dumb-init", "catatonit"]

needs_kernel = pytest.mark.skipif(not kernel_can_reap(), reason="Linux is older than 6.15: --reap kernel falls back")


def ignores_sigchld(pid: int) -> bool:
    """Whether a process leaves its children to the kernel, wait(2) NOTES."""
    return bool(int(read_status(pid).get("SigIgn", "0"), 16) >> (signal.SIGCHLD - 1) & 1)


# No zombie and no wakeup


def test_orphans_of_a_stopped_init(init: Init) -> None:
    """As when a CPU quota has stopped it: the kernel goes on reaping, the loop leaves zombies."""
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
    """Zombies that are there at two looks: the kernel itself needs an instant between exit and release."""
    return set(zombies_of(pid)) & set(zombies_of(pid))


def test_no_zombie_is_seen_in_a_storm(init: Init) -> None:
    """The loop, kept from running, shows that the look finds zombies."""
    with init.start(scene(ON_DEMAND, 2000)) as running:
        running.expect("ready")
        pid = running.pid
        if init.reaper == "wait":
            stop(pid)
        else:
            wait_until(lambda: ignores_sigchld(pid), "SIGCHLD to be ignored")
        running.write(b"\n")
        seen: set[int] = set()
        end = time.monotonic() + DEADLINE
        while not has_output(running) and time.monotonic() < end:
            seen |= lasting_zombies(pid)
        os.kill(pid, signal.SIGCONT)
        running.expect("done")
        assert bool(seen) == (init.reaper == "wait"), f"{len(seen)} zombies"
        assert running.finish().code == 57


def has_output(running: Running) -> bool:
    """Whether the program has printed something that has not been read yet."""
    return bool(select.select([running.process.stdout], [], [], 0)[0])


def test_orphans_do_not_wake_the_init(init: Init) -> None:
    with init.start(scene(ON_DEMAND, 1000)) as running:
        running.expect("ready")
        pid = running.pid
        running.send(signal.SIGWINCH)  # once that is taken, it is in its loop
        wait_until(lambda: not int(read_status(pid)["ShdPnd"], 16) and read_stat(pid)[0] == "S", "it to be idle")
        before = wakeups(pid)
        running.write(b"\n")
        running.expect("done")
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        woken = wakeups(pid) - before
        assert woken == 0 if init.reaper == "kernel" else woken > 0
        assert running.finish().code == 57


# The main child


def test_main_child_ends_at_once(init: Init) -> None:
    """200 times, by an exit code and by a signal in turns: it may be gone before it is known who it is."""
    commands = [("exit $1", code, code) for code in range(1, 101)]
    commands += [("kill -$1 $$", number, 128 + number) for number in (1, 2, 3, 9, 10, 13, 14, 15, 24, 25) * 10]
    for script, value, code in commands:
        assert init.run(shell(script, str(value)), inside=["prlimit", "--core=0"]) == (code, b"", b"")


@pytest.mark.parametrize("ignored", [False, True])
def test_main_child_starts_with_sigchld_as_given(init: Init, ignored: bool) -> None:
    inside = ["env", "--ignore-signal=CHLD" if ignored else "--default-signal=CHLD"]
    with init.start(python(WAIT), inside=inside) as running:
        running.expect("ready")
        assert ignores_sigchld(running.main_child) == ignored
        assert running.finish().code == 57


def test_main_child_that_makes_pyinit_its_tracer(init: Init) -> None:
    """It stops, which is no end, and goes on. Where SIGCHLD is ignored the kernel tells a tracer of no stop."""
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
    """They are pyinit's, are reaped as they end, and are not taken for the main child."""
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


# Leaves a process that, told to, starts another one with the main child's PID: that says so, and told to again says
# whether SIGTERM has come. The kernel frees the number a moment after /proc has lost the process: so it tries again.
TAKE_PID = """
import os, signal
wanted = os.getpid()
if os.fork() == 0:
    os.setsid()
    os.write(1, b"ready\\n")
    os.read(0, 1)
    for _ in range(1000):
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(wanted - 1))
        if os.fork() == 0:
            if os.getpid() != wanted:
                os._exit(1)
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            os.setsid()
            os.write(1, b"same\\n")
            os.read(0, 1)
            os.write(1, b"hit\\n" if signal.SIGTERM in signal.sigpending() else b"spared\\n")
            os._exit(0)
        if os.wait()[1] == 0:
            break
    os._exit(0)
signal.pause()
"""


@needs_kernel
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_reused_pid_is_spared(launcher: str, namespaces: bool, needs_root: None, options: list[str]) -> None:
    """The kernel has freed the main child's PID: a signal that comes before pyinit knows is not for who has it now."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
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
def test_pid_reused_while_a_signal_is_sent(launcher: str, namespaces: bool, needs_root: None,
                                           options: list[str]) -> None:
    """The main child is gone and its PID is another's, just when pyinit is about to send it a signal."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
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
        if options:  # nobody is left in the group: then to the main child alone
            held.wait()
            held.release()
        running.expect("137")
        running.write(b"\n")
        running.expect("spared")


@needs_kernel
def test_last_one_ends_while_the_status_is_read(mode: str, launcher: str) -> None:
    """The kernel reaps it and tells nobody: that none is left is seen all the same, and no grace waited for."""
    init = Init(mode, [launcher], "kernel")
    command = shell("sleep 1000 & echo ready; read line; exit 57")
    with HeldCall("ioctl", {1: PIDFD_GET_INFO}) as held, init.start(command, ["--grace", "1000"],
                                                                     preexec_fn=held.install) as running:
        held.wait()  # whether the kernel supports it
        held.release()
        running.expect("ready")
        last, = children_of(running.main_child)
        running.write(b"\n")
        held.wait()
        os.kill(last, signal.SIGKILL)
        wait_until(lambda: not read_stat(last), "it to be reaped")
        held.release()
        assert running.finish().code == 57


# Where it is asked for and cannot be


def test_warning_on_reap_needs_the_loop(init: Init) -> None:
    with init.start(scene(ONE_BY_ONE, 5), ["--reap", "kernel", "-w"]) as running:
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        result = running.finish()
    lines = result.err.splitlines()
    assert (result.code, lines[0].startswith(FALLS_BACK), len(lines)) == (57, True, 6)
    assert all(b"reaped zombie process" in line for line in lines[1:])


# The number of pidfd_open(2), the same nearly everywhere.
PIDFD_OPEN = 434


def refuse_pidfd() -> None:
    """As before Linux 5.3."""
    refuse_call(PIDFD_OPEN, errno.ENOSYS)


@pytest.mark.skipif(platform.machine() == "alpha", reason="system calls have other numbers there")
def test_unsupported_falls_back_to_the_loop(launcher: str) -> None:
    init = Init("subreaper", [launcher], "kernel")
    with init.start(scene(ONE_BY_ONE, 50), preexec_fn=refuse_pidfd) as running:
        running.expect("done")
        wait_until(lambda: len(children_of(running.pid)) == 1, "all orphans to be reaped")
        assert not ignores_sigchld(running.pid)
        result = running.finish()
        assert (result.code, result.err.count(b"\n")) == (57, 1)
        assert result.err.startswith(FALLS_BACK)


# The number of pidfd_send_signal(2), the same nearly everywhere.
PIDFD_SEND_SIGNAL = 424


@pytest.mark.skipif(platform.machine() == "alpha", reason="system calls have other numbers there")
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS, errno.EINVAL])
def test_refused_signals_fall_back_to_the_loop(mode: str, launcher: str, error: int) -> None:
    """A sandbox that lets a pidfd be opened and refuses to send by it: one warning, and signals are forwarded."""
    init = Init(mode, [launcher], "kernel")
    refused = {"preexec_fn": lambda: refuse_call(PIDFD_SEND_SIGNAL, error)}
    result = init.run(shell("trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.01; done"), **refused)
    assert (result.code, result.err.startswith(FALLS_BACK), result.err.count(b"\n")) == (7, True, 1)
    deaf = shell("trap '' TERM; kill -TERM $PPID; while :; do sleep 0.01; done")
    result = init.run(deaf, ["--kill-after", "0.05"], **refused)
    assert (result.code, result.err.count(b"\n")) == (128 + signal.SIGKILL, 1)


def test_job_control_needs_the_loop(launcher: str) -> None:
    """Where SIGCHLD is ignored the kernel tells of no stop: a job at a terminal that stops would lock it up."""
    with Terminal() as terminal, terminal.start(Init("subreaper", [launcher], "kernel").argv(["cat"])) as running:
        terminal.read_until(FALLS_BACK)
        terminal.type(b"one\n")
        terminal.read_until(b"one\r\none\r\n")
        terminal.type(b"\x04")
        assert running.process.wait(DEADLINE) == 0


def test_old_kernel_falls_back_to_the_loop(launcher: str) -> None:
    """setarch(8) --uname-2.6 has the kernel say that it is an old one; nothing else is known to be missing then."""
    result = run(["setarch", "--uname-2.6", launcher, "-s", "--reap", "kernel", "--", *shell("exit 6")])
    assert result.code == 6
    assert result.err.startswith(FALLS_BACK + b"Linux 2.6 is older than 6.15") and result.err.count(b"\n") == 1


@needs_kernel
def test_descriptors_used_up(init: Init) -> None:
    """RLIMIT_NOFILE: with few descriptors it is the kernel or the loop, and the code and the orphans are the same.

    With four, the last of which is the open bundle's, a subreaper cannot load prctl(2) either.
    """
    kept = ["kernel" if run_with_descriptors(init, limit) else "loop" for limit in range(5, 12)]
    assert kept[-1] == "kernel" and kept[0] == "loop", kept


def run_with_descriptors(init: Init, limit: int) -> bool:
    """Run a scene under a limit of descriptors that the main child does not have; return whether the kernel reaped."""
    raise_limit = shell('ulimit -n 1000; exec "$@"', *scene(ON_DEMAND, 9))
    with init.start(raise_limit, ["--reap", "kernel"], inside=["prlimit", f"--nofile={limit}:1000"]) as running:
        running.expect("ready")
        running.write(b"\n")
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        by_kernel = ignores_sigchld(pid)
        result = running.finish()
        assert result.code == 57
        if by_kernel:
            assert result.err == b""
        else:
            assert (result.err.startswith(FALLS_BACK), result.err.count(b"\n")) == (True, 1), (limit, result.err)
        return by_kernel


@pytest.mark.parametrize("shut", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_stdio_closed(init: Init, shut: str, tmp_path: Path) -> None:
    """The descriptors that pyinit opens then have the numbers of stdio, and are not handed down."""
    listed = tmp_path / "descriptors"
    script = f'ls -l /proc/$$/fd > {listed}; ( : & ); exit 33'
    assert init.run(shell(script), inside=shell(f'exec "$@" {shut}')).code == 33
    assert "anon_inode" not in listed.read_text()


# Who asks for it


@needs_kernel
@pytest.mark.parametrize("name", PERSONALITIES)
def test_each_personality(name: str, mode: str, launcher: str) -> None:
    """PYINIT_REAP asks every personality: it forwards signals and keeps the code as ever."""
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


LISTEN = """
import os, signal
waited = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
os.write(1, b"ready\\n")
number = 0
while number != signal.SIGTERM:
    number = int(signal.sigwait(waited))
    if number != signal.SIGTERM:
        os.write(1, b"%d\\n" % number)
os._exit(44)
"""


@pytest.mark.parametrize("name", [*PERSONALITIES, "pause"])
@pytest.mark.parametrize("value", ["x", "Kernel", "kernel ", "0"])
def test_bad_values_are_refused(name: str, value: str, launcher: str) -> None:
    command = [] if name == "pause" else ["true"]
    result = run([launcher, "--as", name, *command], env={"PYINIT_REAP": value})
    assert (result.code, result.out) == (1, b"")
    assert result.err == f"pyinit: PYINIT_REAP '{value}': expected wait or kernel\n".encode()


def test_the_command_line_wins(launcher: str) -> None:
    result = run([launcher, "-s", "--reap", "wait", "--", "grep", "SigIgn", "/proc/self/status"],
                 env={"PYINIT_REAP": "nonsense"})
    assert (result.code, result.err) == (0, b"")


PAUSES: list[tuple[list[str], dict[str, str]]] = [
    (["--as", "pause"], {"PYINIT_REAP": "kernel"}), (["--pause", "--reap", "kernel"], {}),
    (["--as", "catatonit", "-P"], {"PYINIT_REAP": "kernel"})]


@pytest.mark.parametrize("arguments, environment", PAUSES, ids=["environment", "command line", "catatonit"])
def test_pause(launcher: str, namespaces: bool, arguments: list[str], environment: dict[str, str]) -> None:
    """It needs no status and so no certain kernel; children from before its start are reaped as well."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    argv = [*NAMESPACE, *python(ZOMBIES_FIRST, launcher, *arguments)]
    with Running(argv, "pid1", env={**os.environ, **environment}) as running:
        pid = running.pid
        wait_until(lambda: ignores_sigchld(pid) and not children_of(pid), "the zombies to be reaped")
        stop(pid)
        with enter(pid, python(ORPHANS, "100")) as other:
            assert other.stdout.read() == b"done\n"
        assert not children_of(pid)
        os.kill(pid, signal.SIGCONT)
        running.send(signal.SIGTERM)
        said = b"" if "catatonit" in arguments else b"Shutting down, got signal: Terminated\n"
        assert running.finish() == (0, b"", said)
