"""`pyinit-zombies --probe` and the lean probe find out whether the init of a container reaps.

The tests prove that both give the same answers, word for word, for inits that reap and inits that do not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal

import pytest

from pyinit.lean import MACHINES
from pyinit.linux.procfs import list_processes
from pyinit.zombies.analyse.verdicts import explain_probe
from pyinit.zombies.collect.probe import Finding
from support.inits import Init
from support.machine import lean_command
from support.proc import children_of, free_user, read_stat, read_status, session_of, zombies_of
from support.processes import Result, Running, run, shell
from support.sandbox import HeldCall, number_of, refuse_call
from support.settings import NAMESPACE, PYTHON
from support.waiting import wait_until

REPORT = [PYTHON, "-m", "pyinit.zombies", "--probe"]
NATIVE = os.uname().machine
EMULATED = [pytest.param(machine, marks=pytest.mark.everything("emulated")) for machine in MACHINES
            if machine != NATIVE]

# Runs a probe, prints its exit code, and waits for stdin.
WAIT = '"$@"; echo "code $?"; read line'


@pytest.fixture(params=["report", NATIVE, *EMULATED])
def probe(request: pytest.FixtureRequest, lean_probes: dict[str, str]) -> list[str]:
    """Return the command of each probe."""
    if request.param == "report":
        return REPORT
    if request.param not in lean_probes:
        pytest.skip(f"there is no lean probe for {request.param}")
    return lean_command(request.param, lean_probes[request.param])


def is_emulated(probe: list[str]) -> bool:
    """Say whether QEMU runs a probe."""
    return len(probe) == 2


def read_answer(running: Running, code: int) -> str:
    """Return the line of a probe that WAIT runs, and check the probe's exit code."""
    line = running.read_line()
    running.expect(f"code {code}")
    return line


@pytest.mark.parametrize("reaper", ["wait", "kernel"], indirect=True)
def test_init_that_reaps(init: Init, probe: list[str]) -> None:
    with init.start(shell(WAIT, *probe)) as running:
        line = read_answer(running, 0)
        parent = running.pid if init.mode == "subreaper" else 1
        name = read_status(running.pid)["Name"]
        assert line == explain_probe(Finding(0, parent, name, True))
        assert f"{name} (PID {parent})" in line
        assert children_of(running.pid) == [running.main_child]
        assert children_of(running.main_child) == []


# The probe takes two seconds. As PID 1 the remedy has another text, which the unit tests check.
@pytest.mark.usual("mode")
def test_init_that_does_not_reap(stand_in: Init, probe: list[str]) -> None:
    """The answer names the zombie, which is the only process that the probe leaves."""
    with stand_in.start(shell(WAIT, *probe)) as running:
        line = read_answer(running, 2)
        zombie, = zombies_of(running.pid)
        assert children_of(running.pid) == [running.main_child, zombie]
        assert children_of(running.main_child) == []
        orphan = int(read_status(zombie)["NSpid"].split()[-1])
        parent = running.pid if stand_in.mode == "subreaper" else 1
        assert line == explain_probe(Finding(orphan, parent, read_status(running.pid)["Name"], False))
        assert f"the orphan, PID {orphan}," in line and f"PID {parent} waits" in line


def test_name_that_cannot_be_read(namespaces: None, launcher: str, probe: list[str]) -> None:
    """Without /proc the answer has no name."""
    if is_emulated(probe):
        pytest.skip("QEMU's user mode needs /proc")
    result = Init("pid1", [launcher]).run(shell('mount -t tmpfs none /proc && exec "$@"', *probe))
    assert (result.code, result.out.decode()) == (0, explain_probe(Finding(0, 1, "", True)) + "\n")


def check_unknown(result: Result, words: str) -> None:
    """Check that a probe has no answer: one line on stdout, and exit code 3."""
    assert (result.code, result.err, result.out.count(b"\n")) == (3, b"", 1), result
    assert result.out.startswith(b"unknown: ") and words.encode() in result.out, result


def test_probe_that_is_pid_1(namespaces: None, probe: list[str]) -> None:
    check_unknown(run([*NAMESPACE, *probe]), "this probe is PID 1 itself; expected")


def test_probe_that_is_a_subreaper(probe: list[str]) -> None:
    """execve(2) keeps the subreaper attribute, so the probe may be a subreaper itself."""
    check_unknown(run(probe, preexec_fn=lambda: ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)),
                  "this probe adopted the orphan itself")


def test_sigchld_that_is_ignored(probe: list[str], launcher: str) -> None:
    """A probe inherits an ignored SIGCHLD from its parent, execve(2), and still gives the right answer."""
    result = Init("subreaper", [launcher]).run(
        probe, preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert result.code == 0 and result.out.startswith(b"reaped: "), result


def test_no_process_can_be_started(probe: list[str]) -> None:
    if is_emulated(probe):
        pytest.skip("QEMU's user mode starts threads of its own")
    number = number_of("clone")
    result = run(probe, preexec_fn=lambda: refuse_call(number, errno.EAGAIN))
    check_unknown(result, "expected two free PIDs")


def test_orphan_cannot_be_started(needs_root: None, lean_probes: dict[str, str]) -> None:
    """RLIMIT_NPROC allows the probe and one child, but no orphan."""
    if NATIVE not in lean_probes:
        pytest.skip(f"there is no lean probe for {NATIVE}")
    user = free_user()
    result = run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "prlimit", "--nproc=2",
                  lean_probes[NATIVE]])
    check_unknown(result, "cannot make an orphan; expected two free PIDs")


def test_probe_that_is_killed_leaves_no_process(probe: list[str]) -> None:
    """The orphan waits for the probe, and ends when the probe is killed."""
    if is_emulated(probe):
        pytest.skip("QEMU's user mode cannot be told from what it emulates")
    with HeldCall("wait4", {}) as held, Running(probe, preexec_fn=held.install) as running:
        assert held.wait() == running.pid
        wait_until(lambda: zombies_of(running.pid), "its child to end")
        orphan, = set(living(running.pid)) - {running.pid}
        os.kill(running.pid, signal.SIGKILL)
        wait_until(lambda: orphan not in living(running.pid), "the orphan to end")


def living(session: int) -> list[int]:
    """Return the processes of a session that are not zombies."""
    return [pid for pid in list_processes() if session_of(pid) == session and read_stat(pid)[:1] not in ([], ["Z"])]


@pytest.mark.parametrize("arguments", [["--probe", "--json"], ["--watch", "1", "--probe"], ["--probe", "--warn=1"]])
def test_options_that_do_not_go_with_it(arguments: list[str]) -> None:
    result = run([*REPORT[:-1], *arguments])
    assert (result.code, result.out) == (3, b"")
    assert result.err == b"pyinit-zombies: argument --probe: expected without any other option; see --help\n"


def test_lean_probe_takes_no_argument(lean_probes: dict[str, str]) -> None:
    if NATIVE not in lean_probes:
        pytest.skip(f"there is no lean probe for {NATIVE}")
    check_unknown(run([lean_probes[NATIVE], "--help"]), "expected no argument")


def test_output_that_cannot_be_written(launcher: str, probe: list[str]) -> None:
    """The report then exits with 3, as without an answer. The lean probe's exit code is still its answer."""
    result = Init("subreaper", [launcher]).run(shell('"$@" >/dev/full', *probe))
    is_report = probe == REPORT
    assert (result.code, result.err.startswith(b"pyinit-zombies: cannot write")) == (3 * is_report, is_report), result
