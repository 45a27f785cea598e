"""Every signal that can be forwarded arrives at the main child exactly once, and with -g at its process group."""

from __future__ import annotations

import os
import signal

import pytest

from support.inits import Init
from support.proc import children_of, read_stat, stop
from support.processes import Running, python, run, shell, source
from support.sandbox import HeldCall
from support.settings import DEADLINE, FORWARDED, PYTHON
from support.waiting import wait_until

BOTH_REAPERS = True
LISTENER = source("names_signals")
GROUP = source("group_of_two")
# Moves to the process group of a child, which leaves its own group empty, and continues as LISTENER.
LEAVES_GROUP = """
import os
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
os.setpgid(0, child)
""" + LISTENER


@pytest.mark.core
def test_every_signal_arrives_once(any_init: Init) -> None:
    with any_init.start(python(LISTENER)) as running:
        running.expect("ready")
        for number in FORWARDED:
            running.send(number)
            running.expect(str(number))
        # Every signal has arrived. A signal that arrived twice, or was never sent, would be printed before the end.
        running.send(signal.SIGTERM)
        running.expect("15")
        assert running.finish() == (0, b"", b"")


def test_signals_in_a_burst_arrive_once(init: Init) -> None:
    """Each signal of a burst arrives once. The kernel delivers pending signals in the order of their numbers, and each
    standard signal once.
    """
    with init.start(python(LISTENER)) as running:
        running.expect("ready")
        pid = running.pid
        stop(pid)  # so that all are pending when it continues
        burst = [number for number in FORWARDED if number not in (signal.SIGCONT, signal.SIGTERM)]
        # A stop signal and SIGCONT discard each other while pending, signal(7): the test above sends them one by one.
        burst = [number for number in burst if number not in (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)]
        for number in burst:
            os.kill(pid, number)
        os.kill(pid, signal.SIGCONT)
        arrived = sorted(int(running.read_line()) for _ in range(len(burst) + 1))
        assert arrived == sorted([*burst, signal.SIGCONT])
        for _ in range(2):
            running.send(signal.SIGTERM)
            running.expect("15")
        assert running.finish().out == b""


def test_real_time_signals_queue(init: Init) -> None:
    """Real-time signals are queued and not merged, signal(7): of 300 signals, 300 are forwarded."""
    number = signal.SIGRTMIN + 5
    with init.start(python(LISTENER)) as running:
        running.expect("ready")
        pid = running.pid
        for _ in range(300):
            os.kill(pid, number)
        for _ in range(300):
            running.expect(str(int(number)))
        for _ in range(2):
            running.send(signal.SIGTERM)
            running.expect("15")
        assert running.finish() == (0, b"", b"")


@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_group_gets_signals_only_when_asked(any_init: Init, options: list[str]) -> None:
    with any_init.start(python(GROUP), options) as running:
        running.expect("ready")
        running.send(signal.SIGUSR1)
        if options:
            assert {running.read_line(), running.read_line()} == {"main 10", "child 10"}
            running.send(signal.SIGTERM)
            assert {running.read_line(), running.read_line()} == {"main 15", "child 15"}
            assert running.finish() == (0, b"", b"")
        else:
            running.expect("main 10")
            running.send(signal.SIGTERM)
            running.expect("main 15")
            child = children_of(running.main_child)[0]
            os.kill(child, signal.SIGTERM)
            running.expect("child 15")  # a SIGUSR1, which has the lower number, would be printed first
            assert running.finish() == (0, b"", b"")


def test_main_child_that_has_left_its_group(init: Init) -> None:
    """If the main child has left its group empty, it still gets the signal."""
    with init.start(python(LEAVES_GROUP), ["-g"]) as running:
        running.expect("ready")
        for _ in range(2):
            running.send(signal.SIGTERM)
            running.expect("15")
        assert running.finish() == (0, b"", b"")


def test_group_signal_by_environment(init: Init) -> None:
    with init.start(python(GROUP), env={"TINI_KILL_PROCESS_GROUP": ""}) as running:
        running.expect("ready")
        running.send(signal.SIGTERM)
        assert {running.read_line(), running.read_line()} == {"main 15", "child 15"}
        assert running.finish().code == 0


FAULTS = [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS]
PERSONALITIES = ["pyinit", "tini", "dumb-init", "catatonit"]


@pytest.mark.parametrize("name", PERSONALITIES)
def test_fault_signals_that_were_sent_are_forwarded(name: str, mode: str, launcher: str) -> None:
    """`docker kill -s ABRT` makes a program dump its stacks. The signals do not end pyinit itself."""
    argv = [*Init(mode, [launcher]).prefix(), launcher, "--as", name, "--", *python(LISTENER)]
    with Running(argv, mode) as running:
        running.expect("ready")
        for number in FAULTS:
            running.send(number)
            running.expect(str(int(number)))
        for _ in range(2):
            running.send(signal.SIGTERM)
            running.expect("15")
        assert running.finish().code == 0


# Blocks signals as pyinit does, and reads from address 0.
FAULT = """
import ctypes, resource
from pyinit.linux.signals import block_signals
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
block_signals()
ctypes.string_at(0)
"""


def test_a_real_fault_kills(mode: str) -> None:
    """The kernel delivers the signal of a fault even if it is blocked, signal(7), and also to PID 1."""
    result = run([*Init(mode, []).prefix(), PYTHON, "-c", FAULT])
    assert result.code in (-signal.SIGSEGV, 128 + signal.SIGSEGV), result


def test_stopped_main_child_goes_on(init: Init) -> None:
    """pyinit does not take a stopped child for an ended one, and forwards SIGCONT, which continues it."""
    with init.start(shell('echo ready; read line; echo "$line"; exit 5')) as running:
        running.expect("ready")
        child = running.main_child
        os.kill(child, signal.SIGSTOP)
        wait_until(lambda: read_stat(child)[0] == "T", "the main child to stop")
        running.send(signal.SIGCONT)
        wait_until(lambda: read_stat(child)[0] != "T", "the main child to go on")
        running.write(b"done\n")
        running.expect("done")
        assert running.finish().code == 5


def test_continued_before_it_suspends_itself(mode: str, launcher: str) -> None:
    """As dumb-init, pyinit forwards a SIGCONT that comes before it has stopped itself after its main child."""
    command = shell("echo ready; read line; exit 5")
    argv = [*Init(mode, [launcher]).prefix(), launcher, "--as", "dumb-init", "--", *command]
    with HeldCall("kill", {1: signal.SIGSTOP}) as held, Running(argv, mode, preexec_fn=held.install) as running:
        running.expect("ready")
        running.send(signal.SIGTSTP)
        held.wait()
        running.send(signal.SIGCONT)
        held.release()
        running.write(b"\n")
        assert running.finish().code == 5


@pytest.mark.parametrize("option", [["-p", "USR1"], ["--parent-death-signal=sigusr1"], ["-p10"]])
def test_parent_death_signal(init: Init, option: list[str]) -> None:
    """When pyinit's parent exits, pyinit gets the signal and forwards it."""
    # pyinit's parent is unshare(1) if it is PID 1, and otherwise a shell.
    argv = init.argv(python(LISTENER), option)
    with Running(argv if init.mode == "pid1" else shell('"$@" & wait', *argv)) as running:
        running.expect("ready")
        running.process.kill()
        running.expect("10")


def test_parent_that_dies_before_it_is_watched(launcher: str) -> None:
    """prctl(2) sends nothing if the parent has ended before the call, so pyinit checks that itself. A PID 1 cannot, as
    its parent is in an outer namespace.
    """
    init = Init("subreaper", [launcher])
    argv = init.argv(python(LISTENER), ["-p", "USR1"], ["env", "--block-signal=USR1"])
    with HeldCall("prctl", {0: 1, 1: signal.SIGUSR1}) as held, Running(  # PR_SET_PDEATHSIG
            shell('"$@" & wait', *argv), preexec_fn=held.install) as running:
        pid = held.wait()
        parent = read_stat(pid)[1]
        running.process.kill()
        wait_until(lambda: read_stat(pid)[1] != parent, "pyinit to have another parent")
        held.release()
        running.expect("ready")
        os.kill(pid, signal.SIGRTMAX)  # forwarded after SIGUSR1, which has the lower number
        running.expect("10")
        running.expect("64")


def test_no_parent_death_signal_unasked(launcher: str) -> None:
    """Without -p the listener lives on, and its first signal is the one that the test sends."""
    with Running(shell('"$@" & echo $!; wait', *Init("subreaper", [launcher]).argv(python(LISTENER)))) as running:
        lines = {running.read_line(), running.read_line()}
        assert "ready" in lines
        running.process.kill()
        running.process.wait()
        os.kill(int((lines - {"ready"}).pop()), signal.SIGWINCH)
        running.expect(str(int(signal.SIGWINCH)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1,
                                    signal.SIGRTMIN])
def test_signal_ends_a_main_child_that_does_not_catch_it(any_init: Init, number: int) -> None:
    """The default action of a signal applies to the main child, while for PID 1 the kernel drops such a signal."""
    with any_init.start(shell("ulimit -c 0; echo ready; read line")) as running:
        running.expect("ready")
        running.send(number)
        assert running.process.wait(DEADLINE) == 128 + number
