"""Every signal that can be forwarded arrives at the main child, once."""

from __future__ import annotations

import os
import signal

import pytest
from support import (DEADLINE, FORWARDED, PYTHON, HeldCall, Init, Running, children_of, python, read_stat, run, shell,
                     wait_until)

BOTH_REAPERS = True
# Says each signal that arrives, by sigwait(3) so that none can be lost between two. Runs until SIGTERM has come twice.
LISTENER = """
import os, signal
waited = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
os.write(1, b"ready\\n")
terms = 0
while terms < 2:
    number = int(signal.sigwait(waited))
    os.write(1, b"%d\\n" % number)
    terms += number == signal.SIGTERM
"""
# The same, with a child in its process group that says what it gets, as `child N`.
GROUP = """
import os, signal
waited = {signal.SIGUSR1, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
read, write = os.pipe()
name = b"child" if os.fork() == 0 else b"main"
if name == b"child":
    os.write(write, b"x")
else:
    os.read(read, 1)
    os.write(1, b"ready\\n")
number = 0
while number != signal.SIGTERM:
    number = int(signal.sigwait(waited))
    os.write(1, b"%s %d\\n" % (name, number))
if name == b"main":
    os.wait()
"""
# Joins the process group of a child, upon which its own is empty, and does as LISTENER.
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
        # All that was sent has arrived; what had come twice, or been made up, would stand between here and the end.
        running.send(signal.SIGTERM)
        running.expect("15")
        assert running.finish() == (0, b"", b"")


def test_signals_in_a_burst_arrive_once(init: Init) -> None:
    """Sent in one go. The kernel's order is lowest first among those pending, and each standard signal once."""
    with init.start(python(LISTENER)) as running:
        running.expect("ready")
        pid = running.pid
        os.kill(pid, signal.SIGSTOP)  # so that all are pending when it goes on
        burst = [number for number in FORWARDED if number not in (signal.SIGCONT, signal.SIGTERM)]
        # A stop signal and SIGCONT take each other out of the queue, signal(7), so these go one by one above.
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
    """They are queued, not merged, signal(7): 300 sent are 300 forwarded."""
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
            running.expect("child 15")  # and no SIGUSR1 before it, which comes first of two: it is the lower number
            assert running.finish() == (0, b"", b"")


def test_main_child_that_has_left_its_group(init: Init) -> None:
    """Nobody is left in it: the main child gets the signal all the same."""
    with init.start(python(LEAVES_GROUP), ["-g"]) as running:
        running.expect("ready")
        for _ in range(2):
            running.send(signal.SIGTERM)
            running.expect("15")
        assert running.finish() == (0, b"", b"")


def test_group_signal_by_environment(init: Init) -> None:
    for name in ("TINI_KILL_PROCESS_GROUP", "PYINIT_KILL_PROCESS_GROUP"):
        with init.start(python(GROUP), env={name: ""}) as running:
            running.expect("ready")
            running.send(signal.SIGTERM)
            assert {running.read_line(), running.read_line()} == {"main 15", "child 15"}
            assert running.finish().code == 0


FAULTS = [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGBUS, signal.SIGTRAP, signal.SIGSYS]
PERSONALITIES = ["pyinit", "tini", "dumb-init", "catatonit"]


@pytest.mark.parametrize("name", PERSONALITIES)
def test_fault_signals_that_were_sent_are_forwarded(name: str, mode: str, launcher: str) -> None:
    """`docker kill -s ABRT` has a program dump its stacks. pyinit itself does not end by them."""
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


# Blocks signals as pyinit does, and reads what is at address 0.
FAULT = """
import ctypes, resource
from pyinit.linux.signals import block_signals
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
block_signals()
ctypes.string_at(0)
"""


def test_a_real_fault_kills(mode: str) -> None:
    """The kernel unblocks a signal that tells of a fault, signal(7), also as PID 1."""
    result = run([*Init(mode, []).prefix(), PYTHON, "-c", FAULT])
    assert result.code in (-signal.SIGSEGV, 128 + signal.SIGSEGV), result


def test_stopped_main_child_goes_on(init: Init) -> None:
    """A stopped child is not an ended one, and SIGCONT, which is forwarded, lets it go on."""
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


@pytest.mark.parametrize("option", [["-p", "USR1"], ["--parent-death-signal=sigusr1"], ["-p10"]])
def test_parent_death_signal(init: Init, option: list[str]) -> None:
    """When pyinit's parent exits, pyinit gets the signal and forwards it."""
    # As PID 1 its parent is unshare; else a shell, which ends when it is killed.
    argv = init.argv(python(LISTENER), option)
    with Running(argv if init.mode == "pid1" else shell('"$@" & wait', *argv)) as running:
        running.expect("ready")
        running.process.kill()
        running.expect("10")


def test_parent_that_dies_before_it_is_watched(launcher: str) -> None:
    """prctl(2) looks at no parent that is gone already. A PID 1 cannot tell: its parent is of an outer namespace."""
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
        os.kill(pid, signal.SIGRTMAX)  # would be forwarded after it: the lower number comes first
        running.expect("10")
        running.expect("64")


def test_no_parent_death_signal_unasked(launcher: str) -> None:
    """The same without -p: the listener lives on and says nothing before what it is sent."""
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
    """The main child is no PID 1: the default action applies, which the kernel withholds from an init."""
    with any_init.start(shell("ulimit -c 0; echo ready; read line")) as running:
        running.expect("ready")
        running.send(number)
        assert running.process.wait(DEADLINE) == 128 + number
