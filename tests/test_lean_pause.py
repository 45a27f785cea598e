"""The lean pause, where it does what only a program without an interpreter does; the rest is in test_pause.py."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import termios
from pathlib import Path

import pytest
from lean_fixtures import FILTER, TRAP, number_of, numbers_of
from support import (DEADLINE, NAMESPACE, ROOT, Result, Running, Terminal, children_of, python, read_status, run, shell,
                     start_pause, wait_until, waits_for_signals)
from test_idle import count_wakeups

from pyinit import __version__, lean

WARNING = b"Warning: pause should be the first process\n"
END = b"Shutting down, got signal: Terminated\n"
DOCUMENT = ROOT / "docs" / "lean.md"
PROFILE = ROOT / "deploy" / "seccomp" / "lean-pause.json"


@pytest.fixture
def program(lean_pauses: dict[str, str]) -> list[str]:
    """The lean pause of this machine."""
    if os.uname().machine not in lean_pauses:
        pytest.skip(f"there is no lean pause for {os.uname().machine}")
    return [lean_pauses[os.uname().machine]]


def end(running: Running) -> Result:
    running.send(signal.SIGTERM)
    return running.finish()


# Becomes a subreaper, has a child that leaves orphans when it is told to, and executes its argv: the attribute is kept
# by execve(2), prctl(2).
SUBREAPER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
if os.fork() == 0:
    for line in os.fdopen(0):
        for _ in range(int(line)):
            child = os.fork()
            if child == 0:
                os.fork()
                os._exit(0)
            os.waitpid(child, 0)
        os.write(1, b"done\\n")
    os._exit(0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_subreaper_that_executes_the_pause(lean_pause: list[str]) -> None:
    with start_pause(python(SUBREAPER, *lean_pause)) as running:
        assert len(children_of(running.pid)) == 1
        running.write(b"200\n")
        running.expect("done")
        wait_until(lambda: len(children_of(running.pid)) == 1, "all orphans to be reaped")
        assert end(running) == (0, b"", WARNING + END)


def test_idle_pause_is_not_woken(program: list[str]) -> None:
    with start_pause(program) as running:
        assert count_wakeups(running.pid) == 0
        assert os.listdir(f"/proc/{running.pid}/task") == [str(running.pid)]


def test_orphans_do_not_wake_it(program: list[str]) -> None:
    with start_pause(python(SUBREAPER, *program)) as running:
        before = read_status(running.pid)["voluntary_ctxt_switches"]
        running.write(b"100\n")
        running.expect("done")
        wait_until(lambda: len(children_of(running.pid)) == 1, "all orphans to be reaped")
        assert read_status(running.pid)["voluntary_ctxt_switches"] == before


def test_no_memory_is_writable_and_executable(program: list[str]) -> None:
    """And all that is its own is the stack."""
    with start_pause(program) as running:
        maps = [line.split() for line in Path(f"/proc/{running.pid}/maps").read_text().splitlines()]
    assert not [line for line in maps if "w" in line[1] and "x" in line[1]]
    assert [line[5] for line in maps if "w" in line[1]] == ["[stack]"]
    assert [line[1] for line in maps if line[-1] == program[0]] == ["r-xp"]


def test_stopped_and_continued(lean_pause: list[str]) -> None:
    """rt_sigtimedwait(2) ends with EINTR then, signal(7)."""
    with start_pause(lean_pause) as running:
        for _ in range(3):
            running.send(signal.SIGSTOP)
            wait_until(lambda: read_status(running.pid)["State"].startswith("T"), "it to stop")
            running.send(signal.SIGCONT)
            wait_until(lambda: waits_for_signals(running.pid), "the pause to wait again")
        assert end(running) == (0, b"", WARNING + END)


SIGNAL_BEFORE = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
os.kill(os.getpid(), signal.SIGTERM)
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_signal_pending_before_exec(lean_pause: list[str]) -> None:
    assert run(python(SIGNAL_BEFORE, *lean_pause)) == (0, b"", WARNING + END)


def kill_if_there(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pass


def test_signals_at_any_moment_of_the_start(program: list[str], namespaces: bool) -> None:
    """To a PID 1 that blocks nothing before: from the mask on none is lost, so that one more ends it in any case."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    for _ in range(30):
        with Running([*NAMESPACE, *program], "pid1") as running:
            pid = running.pid
            while running.process.poll() is None and not waits_for_signals(pid):
                kill_if_there(pid)
            kill_if_there(pid)
            assert running.finish() == (0, b"", END)


@pytest.mark.parametrize("writes", ["broken pipe", "file at its limit", "full device"])
def test_write_that_fails_changes_nothing(program: list[str], writes: str, tmp_path: Path) -> None:
    """Not PID 1, which SIGPIPE and SIGXFSZ would kill and SIGTTOU stop."""
    front = []
    if writes == "broken pipe":
        reader, error = os.pipe()
        os.close(reader)
    elif writes == "file at its limit":
        front, error = ["prlimit", "--fsize=0"], os.open(tmp_path / "error", os.O_WRONLY | os.O_CREAT)
    else:
        error = os.open("/dev/full", os.O_WRONLY)
    with start_pause([*front, *program], stderr=error) as running:
        os.close(error)
        running.send(signal.SIGTERM)
        running.process.stdin.close()
        assert running.process.wait(DEADLINE) == 0


def test_full_pipe_is_waited_for(program: list[str]) -> None:
    """As it is documented: not PID 1, it takes no signal before its warning is read."""
    reader, error = os.pipe()
    os.set_blocking(error, False)
    full = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            full += os.write(error, b"x" * 4096)
    os.set_blocking(error, True)
    with open(reader, "rb") as pipe, Running(program, stderr=error) as running:
        os.close(error)
        wait_until(lambda: int(read_status(running.pid)["SigBlk"], 16), "its mask")
        running.send(signal.SIGTERM)
        wait_until(lambda: int(read_status(running.pid)["ShdPnd"], 16), "the signal to be pending")
        assert pipe.read() == b"x" * full + WARNING + END
        running.process.stdin.close()
        assert running.process.wait(DEADLINE) == 0


def test_terminal_that_stops_who_writes_from_the_background(program: list[str]) -> None:
    """tcsetattr(3), TOSTOP: SIGTTOU."""
    with Terminal() as terminal:
        settings = termios.tcgetattr(terminal.slave)
        settings[3] |= termios.TOSTOP
        termios.tcsetattr(terminal.slave, termios.TCSANOW, settings)
        with terminal.start(["/bin/sh", "-mc", '"$@" & wait "$!"; echo "end $?"', "sh", *program]) as running:
            terminal.read_until(WARNING.strip())
            wait_until(lambda: any(map(waits_for_signals, children_of(running.pid))), "the pause to wait")
            os.kill(children_of(running.pid)[0], signal.SIGTERM)
            assert b"Terminated" in terminal.read_until(b"end 0")


@pytest.mark.parametrize("shut", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors(program: list[str], shut: str) -> None:
    with start_pause(shell(f'exec "$@" {shut}', *program)) as running:
        assert end(running).code == 0


def test_version_that_cannot_be_written(program: list[str]) -> None:
    """The exit code is 0 all the same, unlike that of the Python pause."""
    for shut in (">&-", ">/dev/full"):
        assert run(shell(f'exec "$@" {shut}', *program, "-v")) == (0, b"", b"")


@pytest.mark.parametrize("argument", ["", "-", "v", "-v ", "-vv", "--v", "-x", "\udcff"])
def test_what_is_no_version(lean_pause: list[str], argument: str) -> None:
    with start_pause([*lean_pause, argument, "-v"], env={}) as running:
        assert end(running) == (0, b"", WARNING + END)


# What it may do

@pytest.mark.parametrize("name", ["rt_sigprocmask", "rt_sigaction", "rt_sigtimedwait"])
def test_sandbox_that_refuses_what_it_needs(program: list[str], name: str) -> None:
    """It ends with exit code 1: it neither loses signals, nor keeps zombies, nor runs round in circles."""
    assert run(python(FILTER, str(number_of(name)), *program)).code == 1


def test_sandbox_that_answers_at_once(program: list[str]) -> None:
    """rt_sigtimedwait(2) never answers 0; a sandbox that does would have it run round in circles."""
    assert run(python(FILTER, f"= {number_of('rt_sigtimedwait')}", *program)).code == 1


def test_sandbox_that_refuses_its_end(program: list[str]) -> None:
    """A trap stands behind the last instruction, and no data."""
    assert run(python(FILTER, str(number_of("exit_group")), *program, "-v")) == \
        (-TRAP[os.uname().machine], b"pause.py %s\n" % __version__.encode(), b"")


def test_sandbox_that_refuses_the_end_of_pid_1(program: list[str], namespaces: bool) -> None:
    """The kernel does not drop the signal of a trap for PID 1; unshare(1) dies of what its child died of."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    with Running([*NAMESPACE, *python(FILTER, str(number_of("exit_group")), *program)], "pid1") as running:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
        running.send(signal.SIGTERM)
        assert running.finish().code == -TRAP[os.uname().machine]


@pytest.mark.parametrize("name", ["getpid", "write", "wait4"])
def test_sandbox_that_refuses_what_it_can_do_without(program: list[str], name: str) -> None:
    with start_pause(python(FILTER, str(number_of(name)), *program)) as running:
        assert end(running).code == 0


def test_sandbox_of_its_calls_alone(program: list[str]) -> None:
    with start_pause(python(FILTER, "+ " + numbers_of([*lean.list_calls("pause"), "execve"]), *program)) as running:
        assert end(running) == (0, b"", WARNING + END)
    assert run(python(FILTER, "+ " + numbers_of([*lean.list_calls("pause"), "execve"]), *program, "-v")).code == 0


@pytest.mark.parametrize("name", ["rt_sigtimedwait", "wait4", "exit_group", "getpid"])
def test_sandbox_of_fewer_calls_kills_it(program: list[str], name: str) -> None:
    """The test above can fail."""
    fewer = [other for other in [*lean.list_calls("pause"), "execve"] if other != name]
    process = run(python(FILTER, "+ " + numbers_of(fewer), *program, *(["-v"] if name == "exit_group" else [])))
    assert process.code == -signal.SIGSYS


def test_what_strace_sees(program: list[str], tmp_path: Path) -> None:
    """The whole life of a pause, in order."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    log = tmp_path / "log"
    log.touch()
    with Running(["strace", "-f", "-o", str(log), *program]) as running:
        wait_until(lambda: children_of(running.pid) and "rt_sigtimedwait" in log.read_text(), "the pause to wait")
        os.kill(children_of(running.pid)[0], signal.SIGTERM)
        assert running.finish().code == 0
    seen = re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed)", log.read_text(), re.MULTILINE)
    assert [name for name, before in zip(seen, [""] + seen) if name != before] == \
        ["execve", "rt_sigprocmask", "rt_sigaction", "getpid", "write", "wait4", "rt_sigtimedwait", "write",
         "exit_group"]


def test_seccomp_profile_names_the_calls_of_the_program() -> None:
    profile = json.loads(PROFILE.read_text())
    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    own, runtime = profile["syscalls"]
    assert sorted(own["names"]) == lean.list_calls("pause")
    assert own["action"] == runtime["action"] == "SCMP_ACT_ALLOW"
    table = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(table) == sorted(runtime["names"])
