"""The lean pause keeps its own promises: no wakeups, no writable memory but the stack, only the listed system calls.

test_pause.py has the tests that it shares with the Python pause.
"""

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

from pyinit import __version__
from support.lean_fixtures import FILTER, TRAP, list_calls, numbers_of
from support.proc import children_of, pending_signals, read_status, waits_for_signals
from support.processes import Result, Running, python, run, shell, source, start_pause
from support.sandbox import number_of
from support.settings import DEADLINE, NAMESPACE, ROOT
from support.terminal import Terminal
from support.waiting import wait_until
from test_idle import count_wakeups

WARNING = b"Warning: pause should be the first process\n"
END = b"Shutting down, got signal: Terminated\n"
DOCUMENT = ROOT / "docs" / "lean.md"
PROFILE = ROOT / "deploy" / "seccomp" / "lean-pause.json"


@pytest.fixture
def program(lean_pauses: dict[str, str]) -> list[str]:
    """Return the command of this machine's lean pause."""
    if os.uname().machine not in lean_pauses:
        pytest.skip(f"there is no lean pause for {os.uname().machine}")
    return [lean_pauses[os.uname().machine]]


def end(running: Running) -> Result:
    running.send(signal.SIGTERM)
    return running.finish()


SUBREAPER = source("subreaper_around")


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
    """Its only writable memory is the stack."""
    with start_pause(program) as running:
        maps = [line.split() for line in Path(f"/proc/{running.pid}/maps").read_text().splitlines()]
    assert not [line for line in maps if "w" in line[1] and "x" in line[1]]
    assert [line[5] for line in maps if "w" in line[1]] == ["[stack]"]
    assert [line[1] for line in maps if line[-1] == program[0]] == ["r-xp"]


def test_stopped_and_continued(lean_pause: list[str]) -> None:
    """After SIGCONT rt_sigtimedwait(2) fails with EINTR, signal(7), and the pause waits again."""
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


def test_signals_at_any_moment_of_the_start(program: list[str], namespaces: None) -> None:
    """Once PID 1 has set its mask no signal is lost, so one more SIGTERM always ends it. Earlier ones may be lost."""
    for _ in range(30):
        with Running([*NAMESPACE, *program], "pid1") as running:
            pid = running.pid
            while running.process.poll() is None and not waits_for_signals(pid):
                kill_if_there(pid)
            kill_if_there(pid)
            assert running.finish() == (0, b"", END)


@pytest.mark.parametrize("writes", ["broken pipe", "file at its limit", "full device"])
def test_write_that_fails_changes_nothing(program: list[str], writes: str, tmp_path: Path) -> None:
    """A pause that is not PID 1 survives SIGPIPE and SIGXFSZ, which would kill it."""
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
    """As documented, a pause that is not PID 1 takes no signal before its warning has been read."""
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
        wait_until(lambda: pending_signals(running.pid), "the signal to be pending")
        assert pipe.read() == b"x" * full + WARNING + END
        running.process.stdin.close()
        assert running.process.wait(DEADLINE) == 0


def test_terminal_that_stops_who_writes_from_the_background(program: list[str]) -> None:
    """With TOSTOP, tcsetattr(3), a write from the background raises SIGTTOU, which must not stop the pause."""
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
    """The exit code is 0, unlike that of the Python pause."""
    for shut in (">&-", ">/dev/full"):
        assert run(shell(f'exec "$@" {shut}', *program, "-v")) == (0, b"", b"")


@pytest.mark.parametrize("argument", ["", "-", "v", "-v ", "-vv", "--v", "-x", "\udcff"])
def test_what_is_no_version(lean_pause: list[str], argument: str) -> None:
    with start_pause([*lean_pause, argument, "-v"], env={}) as running:
        assert end(running) == (0, b"", WARNING + END)


# What it may do

@pytest.mark.parametrize("name", ["rt_sigprocmask", "rt_sigaction", "rt_sigtimedwait"])
def test_sandbox_that_refuses_what_it_needs(program: list[str], name: str) -> None:
    """It ends with exit code 1. Otherwise it would lose signals, keep zombies, or loop without a pause."""
    assert run(python(FILTER, str(number_of(name)), *program)).code == 1


def test_sandbox_that_answers_at_once(program: list[str]) -> None:
    """rt_sigtimedwait(2) never returns 0. Under a sandbox that returns 0, the pause must not loop without a pause."""
    assert run(python(FILTER, f"= {number_of('rt_sigtimedwait')}", *program)).code == 1


def test_sandbox_that_refuses_its_end(program: list[str]) -> None:
    """If exit_group(2) is refused, the program runs into a trap after its last instruction, and not into data."""
    assert run(python(FILTER, str(number_of("exit_group")), *program, "-v")) == \
        (-TRAP[os.uname().machine], b"pause.py %s\n" % __version__.encode(), b"")


def test_sandbox_that_refuses_the_end_of_pid_1(program: list[str], namespaces: None) -> None:
    """The kernel does not drop a trap's signal for PID 1. unshare(1) dies of the signal that its child died of."""
    with Running([*NAMESPACE, *python(FILTER, str(number_of("exit_group")), *program)], "pid1") as running:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
        running.send(signal.SIGTERM)
        assert running.finish().code == -TRAP[os.uname().machine]


@pytest.mark.parametrize("name", ["getpid", "write", "wait4"])
def test_sandbox_that_refuses_what_it_can_do_without(program: list[str], name: str) -> None:
    with start_pause(python(FILTER, str(number_of(name)), *program)) as running:
        assert end(running).code == 0


def test_sandbox_of_its_calls_alone(program: list[str]) -> None:
    with start_pause(python(FILTER, "+ " + numbers_of([*list_calls("pause"), "execve"]), *program)) as running:
        assert end(running) == (0, b"", WARNING + END)
    assert run(python(FILTER, "+ " + numbers_of([*list_calls("pause"), "execve"]), *program, "-v")).code == 0


@pytest.mark.parametrize("name", ["rt_sigtimedwait", "wait4", "exit_group", "getpid"])
def test_sandbox_of_fewer_calls_kills_it(program: list[str], name: str) -> None:
    """The test above can fail."""
    fewer = [other for other in [*list_calls("pause"), "execve"] if other != name]
    process = run(python(FILTER, "+ " + numbers_of(fewer), *program, *(["-v"] if name == "exit_group" else [])))
    assert process.code == -signal.SIGSYS


def test_what_strace_sees(program: list[str], tmp_path: Path) -> None:
    """A pause makes just these system calls, in this order, from its start to its end."""
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
    assert sorted(own["names"]) == list_calls("pause")
    assert own["action"] == runtime["action"] == "SCMP_ACT_ALLOW"
    table = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(table) == sorted(runtime["names"])
