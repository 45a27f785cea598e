"""The lean init as a process: it makes only the listed system calls, works or ends in sandboxes, reaps in bounded
drains, and does job control.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
from pathlib import Path

import pytest

from support.inits import STAND_IN, Init, LeanInit
from support.lean_fixtures import FILTER, TRAP, list_calls, numbers_of
from support.orphans import CLONES_FIRST, TOGETHER, ZOMBIES_FIRST, scene
from support.proc import children_of, read_stat, wait_for_stop_of, waits_for_signals, zombies_of
from support.processes import Running, python, run, shell
from support.sandbox import number_of
from support.settings import DEADLINE, NAMESPACE, ROOT
from support.terminal import Terminal
from support.waiting import observe_for, wait_until
from test_kernel_reaping import TRACED
from test_terminal import FOREGROUND, PLAIN, SHELLS

PROFILE = ROOT / "deploy" / "seccomp" / "lean-init.json"
WAIT = "import os\nos.write(1, b'ready\\n')\nos.read(0, 1)\nos._exit(57)"
# Makes its parent its tracer and sends itself a signal; exit code 9 says that it was continued.
TRACED_STOP = """
import ctypes, os, sys
ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME
os.kill(os.getpid(), int(sys.argv[1]))
os._exit(9)
"""


@pytest.fixture
def native(lean_inits: dict[str, str]) -> list[str]:
    """Return the command of this machine's lean init."""
    if os.uname().machine not in lean_inits:
        pytest.skip(f"there is no lean init for {os.uname().machine}")
    return [lean_inits[os.uname().machine]]


# Its memory and its calls


def test_no_memory_is_writable_and_executable(native: list[str]) -> None:
    """Its only writable memory is the stack."""
    with Running([*native, *python(WAIT)]) as running:
        running.expect("ready")
        maps = [line.split() for line in Path(f"/proc/{running.pid}/maps").read_text().splitlines()]
    assert not [line for line in maps if "w" in line[1] and "x" in line[1]]
    assert [line[5] for line in maps if "w" in line[1]] == ["[stack]"]
    assert [line[1] for line in maps if line[-1] == native[0]] == ["r-xp"]


def trace(argv: list[str], log: Path, act: object) -> list[str]:
    """Return the system calls of a program, in order and without those of its children, by strace. `act` runs when the
    program has written "ready".
    """
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    with Running(["strace", "-o", str(log), *argv]) as running:
        running.expect("ready")
        act(running)
        assert running.finish().code == 57
    return re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE)


def test_what_strace_sees(native: list[str], tmp_path: Path) -> None:
    """An init makes just these system calls, in this order: at its start, for a signal, and at its end."""
    def act(running: Running) -> None:
        init = children_of(running.pid)[0]
        os.kill(init, signal.SIGWINCH)
        wait_until(lambda: "kill(" in (tmp_path / "log").read_text(), "the signal to be forwarded")
        wait_until(lambda: waits_for_signals(init), "the init to wait again")

    seen = trace([*native, *python(WAIT)], tmp_path / "log", act)
    assert seen == ["execve", "rt_sigprocmask", "rt_sigaction", "prctl", "ioctl", "clone", "setpgid", "wait4",
                    "rt_sigtimedwait", "kill", "wait4", "rt_sigtimedwait", "wait4", "wait4", "exit_group"]


def test_seccomp_profile_names_the_calls_of_the_program() -> None:
    profile = json.loads(PROFILE.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert [group["names"] for group in profile["syscalls"] if "lean init" in group.get("comment", "")] == \
        [list_calls("init")]


# Sandboxes


@pytest.mark.parametrize("call", ["rt_sigprocmask", "clone", "wait4"])
def test_sandbox_that_refuses_what_it_needs(native: list[str], call: str) -> None:
    """It ends with exit code 1. Otherwise it would lose signals or the exit code."""
    assert run(python(FILTER, str(number_of(call)), *native, "true")).code == 1


@pytest.mark.parametrize("call", ["rt_sigaction", "prctl", "ioctl", "setpgid", "ptrace", "getpid", "writev"])
def test_sandbox_that_refuses_what_it_can_do_without(native: list[str], call: str) -> None:
    """It continues. Without a process group, a signal for the group goes to the main child."""
    with Running(python(FILTER, str(number_of(call)), *native, "-g", "--", "sleep", "1000")) as running:
        wait_until(lambda: waits_for_signals(running.pid), "the init to wait")
        running.send(signal.SIGTERM)
        assert running.process.wait(DEADLINE) == 143


def test_sandbox_that_refuses_its_end(native: list[str]) -> None:
    """If exit_group(2) is refused, the program runs into a trap after its last instruction, and not into data."""
    assert run(python(FILTER, str(number_of("exit_group")), *native, "--version")).code == -TRAP[os.uname().machine]


def test_sandbox_of_its_calls_alone(native: list[str]) -> None:
    """It needs no other system call. Nor does the main child here, which is the lean init with --version."""
    argv = python(FILTER, "+ " + numbers_of(list_calls("init")), *native, *native, "--version")
    assert (run(argv).code, run(argv).out[:13]) == (0, b"tini version ")


@pytest.mark.parametrize("call", ["clone", "wait4", "rt_sigtimedwait", "exit_group", "setpgid"])
def test_sandbox_of_fewer_calls_kills_it(native: list[str], call: str) -> None:
    """The test above can fail."""
    fewer = [name for name in list_calls("init") if name != call]
    assert run(python(FILTER, "+ " + numbers_of(fewer), *native, *native, "--version")).code == -signal.SIGSYS


# Signals


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGILL, signal.SIGFPE, signal.SIGBUS,
                                    signal.SIGTRAP, signal.SIGSYS, 32, 33])
def test_every_other_signal_is_forwarded(mode: str, native: list[str], number: int) -> None:  # noqa: F811
    """Signals of faults are forwarded if a process has sent them, and so are the two that a C library reserves."""
    with LeanInit(mode, native).start(["sleep", "1000"], inside=["prlimit", "--core=0"]) as running:
        main_child = running.main_child
        wait_until(lambda: b"sleep" in Path(f"/proc/{main_child}/cmdline").read_bytes(), "the main child to run")
        running.send(number)
        assert running.process.wait(DEADLINE) == 128 + number


# Reaping


def test_children_had_before_exec(mode: str, native: list[str]) -> None:  # noqa: F811
    """The init reaps zombies that its process had before it executed the init."""
    for one, left in ((LeanInit(mode, native), 0), (Init(mode, python(STAND_IN)), 2)):
        with one.start(python(WAIT), inside=python(ZOMBIES_FIRST)) as running:
            running.expect("ready")
            wait_until(lambda: len(children_of(running.pid)) == 1 + left, "just those that are expected")
            assert len(zombies_of(running.pid)) == left
            assert running.finish().code == 57


def test_children_of_clone_are_reaped(native: list[str]) -> None:
    """The init also reaps children whose exit signal is not SIGCHLD, once a SIGCHLD comes."""
    for program, left in ((native, 0), (python(STAND_IN), 4)):
        argv = [*program, *(["--"] if left else []), *python(WAIT)]
        with Running(python(CLONES_FIRST, str(number_of("clone")), *argv)) as running:
            running.expect("ready")
            wait_until(lambda: len(zombies_of(running.pid)) == left, "just those that are expected")
            running.send(signal.SIGCHLD)
            assert running.finish().code == (57 if not left else running.process.returncode)


def test_drain_is_bounded(native: list[str], tmp_path: Path) -> None:
    """Many zombies do not delay a signal, and those that are left are reaped without another SIGCHLD."""
    def act(running: Running) -> None:
        child = children_of(running.pid)[0]
        wait_until(lambda: waits_for_signals(child), "the init to wait")  # under strace it is in state t at each call
        os.kill(child, signal.SIGSTOP)
        wait_until(lambda: read_stat(child)[0] in "tT", "it to stop")
        running.write(b"\n")
        running.expect("done")
        wait_until(lambda: len(zombies_of(child)) == 350, "all to be zombies")
        os.kill(child, signal.SIGWINCH)
        os.kill(child, signal.SIGCONT)
        wait_until(lambda: not zombies_of(child), "all to be reaped")

    body = f"os.write(1, b'ready\\n')\nos.read(0, 1)\n{TOGETHER}"
    seen = trace([*native, *scene(body, 350)], tmp_path / "log", act)
    drains = " ".join(seen).split("rt_sigtimedwait")
    assert 100 <= max(drain.count("wait4") for drain in drains) <= 101 and seen.count("wait4") > 350
    assert (tmp_path / "log").read_text().count("tv_sec=0, tv_nsec=0") >= 3  # the waits between drains do not sleep


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTRAP])
def test_traced_main_child_goes_on(mode: str, native: list[str], number: int) -> None:  # noqa: F811
    """A stop of a traced main child is no end, ptrace(2). The init continues it with its signal, except SIGTRAP, which
    the tracing itself raises.
    """
    with LeanInit(mode, native).start(python(TRACED_STOP, str(int(number)))) as running:
        if number in (signal.SIGSTOP, signal.SIGTSTP):
            main_child = running.main_child
            wait_until(lambda: read_stat(main_child)[0] == "T", "the main child to stop without a tracer")
            running.send(signal.SIGCONT)
        code = running.process.wait(DEADLINE)
    assert code == (128 + number if number in (signal.SIGUSR1, signal.SIGTERM) else 9)


def test_traced_main_child_that_executes(mode: str, native: list[str]) -> None:  # noqa: F811
    assert LeanInit(mode, native).run(python(TRACED)) == (7, b"", b"")


# Job control


@pytest.mark.parametrize("name", ["bash", "sh"])
def test_job_is_stopped_and_goes_on(native: list[str], name: str) -> None:
    """Ctrl-Z stops the whole job with the init, and the shell gets the terminal; `fg` gives it back to the job."""
    if not shutil.which(name):
        pytest.skip(f"no {name}")
    command = shlex.join([*native, "--", *shell("echo started; cat | cat; exit 6")])
    with Terminal() as terminal, terminal.start([shutil.which(name), *SHELLS[name]], env=PLAIN) as running:
        terminal.read_until(b"next> ")
        terminal.type(command.encode() + b"; echo code=$?\n")
        terminal.read_until(b"started\r\n")
        for word in (b"one", b"two", b"three"):
            terminal.type(word + b"\n")
            terminal.read_until(word + b"\r\n" + word + b"\r\n")
            terminal.type(b"\x1a")
            terminal.read_until(b"next> ")
            # Wait for each process: a cat that has not stopped yet would read the next line that is typed.
            lean_init, = children_of(running.pid)
            main_child, = children_of(lean_init)
            job = [lean_init, main_child, *children_of(main_child)]
            wait_until(lambda: all(read_stat(pid)[0] == "T" for pid in job), "the job to stop")
            terminal.type(b"echo $((6 * 7))\n")
            terminal.read_until(b"\n42\r\n")
            terminal.type(b"fg\n")
            terminal.read_until(native[0].encode())
            terminal.read_until(b"\r\n")  # what is typed before would be shown within the line
        terminal.type(b"four\n")
        terminal.read_until(b"four\r\nfour\r\n")
        terminal.type(b"\x04")
        terminal.read_until(b"next> ")
        terminal.type(b"echo alive\n")
        terminal.read_until(b"\nalive\r\n")
        terminal.type(b"exit 4\n")
        assert running.process.wait(DEADLINE) == 4


def test_main_child_without_a_terminal_is_no_job(native: list[str]) -> None:
    """If the main child stops without a terminal, the init does not stop, as no shell could continue it."""
    with Running([*native, *python(WAIT)]) as running:
        running.expect("ready")
        child = running.main_child
        os.kill(child, signal.SIGTSTP)
        wait_for_stop_of(child, running.pid)
        observe_for(0.1)
        wait_until(lambda: waits_for_signals(running.pid), "the init to wait, and not to be stopped")
        running.send(signal.SIGCONT)
        assert running.finish().code == 57


def test_adopted_child_is_no_job(native: list[str]) -> None:
    """The init does not stop if an adopted child stops at the terminal."""
    orphan = "import os, time\nos.setpgid(0, 0)\nos.write(1, b'%d ' % os.getpid())\ntime.sleep(1000)"
    command = shell('("$@" &); read line', *python(orphan))
    with Terminal() as terminal, terminal.start([*native, "--", *command]) as running:
        other = int(terminal.read_until(b" "))
        wait_until(lambda: other in children_of(running.pid), "it to be adopted")
        os.kill(other, signal.SIGTSTP)
        wait_for_stop_of(other, running.pid)
        observe_for(0.1)
        wait_until(lambda: waits_for_signals(running.pid), "the init to wait, and not to be stopped")
        os.kill(other, signal.SIGKILL)
        running.send(signal.SIGTERM)
        assert running.process.wait(DEADLINE) == 143


def test_core_dump_is_no_part_of_the_exit_code(native: list[str], tmp_path: Path) -> None:
    """The core dump flag of the wait status, WCOREDUMP in wait(2), does not change the exit code."""
    assert run([*native, *shell("ulimit -c unlimited; kill -SEGV $$")], cwd=tmp_path).code == 128 + signal.SIGSEGV


def test_pid_1_never_stops(native: list[str], namespaces: None) -> None:
    """Ctrl-Z stops only the main child: the init continues to wait, and forwards SIGCONT and SIGTERM."""
    command = shell("echo ready; exec sleep 1000")
    with Terminal() as terminal, terminal.start([*NAMESPACE, *native, *command], "pid1") as running:
        terminal.read_until(b"ready")
        pid, child = running.pid, running.main_child
        terminal.type(b"\x1a")
        wait_for_stop_of(child, pid)
        running.send(signal.SIGTERM)
        running.send(signal.SIGCONT)
        assert running.process.wait(DEADLINE) == 143


def test_foreground_is_given_back(native: list[str]) -> None:
    """At its end the init gives the foreground back to its own process group, as the starter of a job expects."""
    with Terminal() as terminal, terminal.start(python(FOREGROUND, *native, *shell("exit 3"))) as running:
        terminal.read_until(b"given back True\r\n")
        assert running.process.wait(DEADLINE) == 0


def test_stop_by_somebody_else_is_no_job_control(native: list[str]) -> None:
    """If SIGSTOP stops the main child, as a debugger does, the init continues to reap and to forward signals."""
    with Terminal() as terminal, terminal.start([*native, *python(WAIT)]) as running:
        terminal.read_until(b"ready")
        child = running.main_child
        os.kill(child, signal.SIGSTOP)
        wait_for_stop_of(child, running.pid)  # and the init waits, and is not stopped
        running.send(signal.SIGCONT)
        wait_until(lambda: read_stat(child)[0] == "S", "it to go on")
        running.send(signal.SIGTERM)
        assert running.process.wait(DEADLINE) == 143
