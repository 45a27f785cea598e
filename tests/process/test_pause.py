"""Each pause reaps the orphans that it adopts, drops other signals, and ends by SIGINT or SIGTERM with exit code 0."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from pyinit import __version__
from pyinit.lean import MACHINES
from pyinit.log import Log
from pyinit.supervisor import pause as pause_module
from pyinit.supervisor.pause import RETRIES, reap_until_stopped
from support.inits import STAND_IN
from support.machine import lean_command
from support.orphans import CLONES, CLONES_FIRST, ZOMBIES_FIRST
from support.proc import children_of, waits_for_signals, zombies_of
from support.processes import Running, python, run, shell, source, start_pause
from support.sandbox import number_of
from support.selection import amount
from support.settings import DEADLINE, FORWARDED, NAMESPACE, PYTHON
from support.waiting import wait_until

WARNING = b"Warning: pause should be the first process\n"
WAYS = ["launcher", "--pause", "module", "symlink"]
LEAN = [f"lean {machine}" for machine in MACHINES]
# QEMU catches the signals that end a program by default, so the kernel does not drop them for PID 1.
HARMLESS_EMULATED = {signal.SIGCONT, signal.SIGPIPE, signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH, signal.SIGXFSZ}
ORPHANS = source("leaves_orphans")


@pytest.fixture(params=WAYS + LEAN)
def pause(request: pytest.FixtureRequest, launcher: str, pause_launcher: str, lean_pauses: dict[str, str],
          tmp_path: Path) -> list[str]:
    """Return the command of each pause."""
    if request.param in LEAN:
        machine = request.param.split()[1]
        return lean_command(machine, lean_pauses[machine])
    link = tmp_path / "pause"
    link.symlink_to(launcher)
    return {"launcher": [pause_launcher], "--pause": [launcher, "--pause"],
            "module": [PYTHON, "-m", "pyinit", "--pause"], "symlink": [str(link)]}[request.param]


@pytest.fixture
def first(namespaces: None) -> list[str]:
    """Return the command that makes the pause PID 1."""
    return NAMESPACE


@pytest.mark.core
@pytest.mark.parametrize("number, name", [(signal.SIGINT, b"Interrupt"), (signal.SIGTERM, b"Terminated")])
def test_end(pause: list[str], first: list[str], number: int, name: bytes) -> None:
    with start_pause([*first, *pause], "pid1") as running:
        running.send(number)
        assert running.finish() == (0, b"", b"Shutting down, got signal: " + name + b"\n")


def test_not_the_first_process(pause: list[str]) -> None:
    """A pause that is not PID 1 warns once and continues."""
    with start_pause(pause, "") as running:
        assert running.read_error() == WARNING
        running.send(signal.SIGTERM)
        assert running.finish() == (0, b"", WARNING + b"Shutting down, got signal: Terminated\n")


@pytest.mark.core
def test_other_signals_do_nothing(pause: list[str], first: list[str]) -> None:
    with start_pause([*first, *pause], "pid1") as running:
        pid = running.pid
        for number in HARMLESS_EMULATED if "qemu" in pause[0] else set(FORWARDED) - {signal.SIGINT, signal.SIGTERM}:
            os.kill(pid, number)
        os.kill(pid, signal.SIGCHLD)
        wait_until(lambda: waits_for_signals(pid), "the pause to wait again")
        assert running.process.poll() is None
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def enter(pid: int, command: list[str]) -> subprocess.Popen:
    """Run a command in the PID and mount namespaces of a process, as a container of a pod or a health check runs."""
    user = ["--user", "--preserve-credentials"] if os.geteuid() else []
    return subprocess.Popen(["nsenter", f"--target={pid}", "--pid", "--mount", *user, *command],
                            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)


@pytest.mark.core
def test_orphans_of_others_are_reaped(pause: list[str], first: list[str]) -> None:
    """A pod's containers share its PID namespace, so the pause adopts their orphans."""
    with start_pause([*first, *pause], "pid1") as running:
        pid = running.pid
        for _ in range(3):
            with enter(pid, python(ORPHANS, "100")) as other:
                assert other.stdout.read() == b"done\n"
            wait_until(lambda: not children_of(pid), "all orphans to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


@pytest.mark.parametrize("pause, options, told", [
    ("--pause", ["-vv"], rb"pyinit: reaped PID \d+, exit code 0"),
    ("--pause", ["-w"], rb"pyinit: warning: reaped zombie process with PID \d+"),
    ("launcher", [], rb"pyinit: reaped PID \d+, exit code 0"),
], indirect=["pause"])
def test_reaps_are_told_if_asked_for(pause: list[str], first: list[str], options: list[str], told: bytes) -> None:
    """The pause reports its reaps, by an option or by PYINIT_VERBOSITY: a pause in a pod gets no arguments."""
    variable = [] if options else ["env", "PYINIT_VERBOSITY=3"]
    with start_pause([*first, *variable, *pause, *options], "pid1") as running:
        with enter(running.pid, python(ORPHANS, "3")) as other:
            assert other.stdout.read() == b"done\n"
        wait_until(lambda: not children_of(running.pid), "all orphans to be reaped")
        running.send(signal.SIGTERM)
        *lines, _ = running.finish().err.splitlines()
        assert len(lines) == 3 and all(re.fullmatch(told, line) for line in lines)


@pytest.mark.parametrize("option, told", [("-w", b"reaped zombie process"), ("-vv", b"reaped PID")])
def test_kernel_reaping_gives_way_to_lines(launcher: str, first: list[str], option: str, told: bytes) -> None:
    with start_pause([*first, launcher, "--pause", option, "--reap", "kernel"], "pid1") as running:
        assert b"a line for each orphan needs the waitpid loop" in running.read_error()
        with enter(running.pid, python(ORPHANS, "1")) as other:
            assert other.stdout.read() == b"done\n"
        wait_until(lambda: told in running.read_error(), "the line")


def test_orphans_of_others_are_left_without_a_reaper(first: list[str]) -> None:
    with Running([*first, *python(STAND_IN, "--", *shell("echo ready; read line"))], "pid1") as running:
        running.expect("ready")
        with enter(running.pid, python(ORPHANS, "100")) as other:
            assert other.stdout.read() == b"done\n"
        wait_until(lambda: len(zombies_of(running.pid)) == 100, "100 zombies")


def test_storm_in_a_pod(pause: list[str], first: list[str]) -> None:
    """Four containers leave orphans at once."""
    with start_pause([*first, *pause], "pid1") as running:
        pid = running.pid
        others = [enter(pid, python(ORPHANS, str(amount(100, 500)))) for _ in range(4)]
        for other in others:
            assert other.communicate(timeout=DEADLINE * 2)[0] == b"done\n"
        wait_until(lambda: not children_of(pid), "all orphans to be reaped")
        running.send(signal.SIGINT)
        assert running.finish().code == 0


def test_children_had_before_exec(pause: list[str], first: list[str]) -> None:
    """The pause reaps zombies that its process had before it executed the pause."""
    with start_pause([*first, *python(ZOMBIES_FIRST, *pause)], "pid1") as running:
        wait_until(lambda: not children_of(running.pid), "the zombies to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


# Leaves three children of clone(2) to the PID 1 of its namespace, before and after their end.
CLONES_LEFT = CLONES + """
def await_adoption():
    while os.getppid() != 1:
        os.sched_yield()
parent = os.fork()
if parent == 0:
    os.waitid(os.P_PID, clone(0), os.WEXITED | os.WNOWAIT | 0x40000000)
    for number in (0, 23):
        clone(number, await_adoption)
    os._exit(0)
os.waitpid(parent, 0)
os.write(1, b"done\\n")
"""


def test_clones_had_before_exec(pause: list[str], first: list[str]) -> None:
    """For these zombies no SIGCHLD comes. The other children raise SIGCHLD, as their parent has called execve(2)."""
    with start_pause([*first, *python(CLONES_FIRST, str(number_of("clone")), *pause)], "pid1") as running:
        wait_until(lambda: not children_of(running.pid), "the zombies to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def test_clones_left_by_others(pause: list[str], first: list[str]) -> None:
    """The kernel changes the exit signal of adopted children to SIGCHLD."""
    with start_pause([*first, *pause], "pid1") as running:
        with enter(running.pid, python(CLONES_LEFT, str(number_of("clone")))) as other:
            assert other.stdout.read() == b"done\n"
        wait_until(lambda: not children_of(running.pid), "all orphans to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


TRACED = source("traced_by_parent")


def test_traced_orphan_is_reaped(pause: list[str], first: list[str]) -> None:
    """The zombie of a traced orphan belongs to its tracer, the pause, even if that ignores SIGCHLD, ptrace(2)."""
    with start_pause([*first, *pause], "pid1") as running:
        with enter(running.pid, python(TRACED)) as other:
            assert other.stdout.read() == b"traced\n"
        wait_until(lambda: not children_of(running.pid), "the orphan to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def test_sigchld_ignored_at_start(pause: list[str], first: list[str]) -> None:
    with start_pause([*first, "env", "--ignore-signal", *pause], "pid1") as running:
        running.send(signal.SIGINT)
        assert running.finish().code == 0


@pytest.mark.parametrize("pause", ["launcher", "symlink", *LEAN], indirect=True)
@pytest.mark.parametrize("option", ["-v", "-V"])
def test_version(pause: list[str], option: str) -> None:
    """The option does the same as for Kubernetes' pause v3.1."""
    assert run([*pause, option]) == (0, b"pause.py %s\n" % __version__.encode(), b"")


@pytest.mark.parametrize("pause", ["launcher", *LEAN], indirect=True)
def test_arguments_are_ignored(pause: list[str], first: list[str]) -> None:
    """As pause v3.1, the pause refuses no arguments."""
    with start_pause([*first, *pause, "x", "--unknown", "-e", "\udcff"], "pid1") as running:
        running.send(signal.SIGTERM)
        assert running.finish() == (0, b"", b"Shutting down, got signal: Terminated\n")


@pytest.mark.parametrize("shut", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_broken_stdio(pause: list[str], first: list[str], shut: str) -> None:
    with start_pause([*first, *shell(f'exec "$@" {shut}', *pause)], "pid1") as running:
        with enter(running.pid, python(ORPHANS, "5")) as other:
            assert other.stdout.read() == b"done\n"
        wait_until(lambda: not children_of(running.pid), "all orphans to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def test_wait_that_fails_once(pause_launcher: str, tmp_path: Path) -> None:
    """The pause warns and waits again, as its end would end the pod's namespace."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    tracer = ["strace", "-qq", "-o", str(tmp_path / "calls"), "--trace=rt_sigtimedwait",
              "--inject=rt_sigtimedwait:error=ENOMEM:when=1"]
    with Running([*tracer, pause_launcher]) as running:
        def find() -> list[int]:  # strace(1) also has children of its own, in which it tries system calls
            return [pid for pid in children_of(running.pid) if waits_for_signals(pid)]

        wait_until(find, "the pause to wait again")
        os.kill(*find(), signal.SIGTERM)
        result = running.finish()
        assert result.code == 0
        assert b"pyinit: warning: " in result.err and result.err.endswith(b"Shutting down, got signal: Terminated\n")


@pytest.mark.parametrize("pause", ["launcher", *LEAN], indirect=True)
def test_empty_environment(pause: list[str], first: list[str]) -> None:
    """The pause needs neither PATH nor any other variable, as a CRI runtime need not set them."""
    with Running([*first, *pause], "pid1", env={}, cwd="/") as running:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
        running.send(signal.SIGTERM)
        assert running.finish() == (0, b"", b"Shutting down, got signal: Terminated\n")


def test_main_child_is_refused(launcher: str) -> None:
    result = run([launcher, "--pause", "true"])
    assert result.code == 1 and b"--pause takes no command" in result.err


class Waiting:
    """A reaper whose waits end as `ends` says, each by a signal or an exception, and whose drains fail by `drains`."""

    def __init__(self, *ends: object, drains: Sequence[BaseException] = ()) -> None:
        self.ends = list(ends)
        self.drains = list(drains)

    def drain(self) -> None:
        """Find no zombies."""
        if self.drains:
            raise self.drains.pop(0)

    def wait(self) -> int:
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end


REFUSED = OSError(1, "Operation not permitted")


@pytest.mark.parametrize("ends, expected", [
    ([MemoryError()] * 3 * RETRIES + [signal.SIGTERM], signal.SIGTERM),  # a lack of memory may pass
    ([REFUSED] * RETRIES + [signal.SIGINT], signal.SIGINT),
    (([REFUSED] * RETRIES + [signal.SIGCHLD]) * 2 + [signal.SIGTERM], signal.SIGTERM),
    ([REFUSED] * (RETRIES + 1), 0),
    ([signal.SIGHUP, signal.SIGUSR1, signal.SIGINT], signal.SIGINT),
], ids=["memory", "refused for a while", "refused twice", "refused for ever", "others"])
@pytest.mark.parametrize("drains", [[], [REFUSED] * 9 * RETRIES, [MemoryError()] * 9 * RETRIES],
                         ids=["reaps", "cannot reap", "no memory"])
def test_waits_that_fail(ends: list, expected: int, drains: list, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only waits that the kernel refuses in a row end the pause, whether it can reap or not."""
    monkeypatch.setattr(pause_module, "rest", lambda: None)
    assert reap_until_stopped(Waiting(*ends, drains=drains), Log(-1)) == expected


def test_drain_without_memory_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """The zombies that it leaves raise no other SIGCHLD."""
    monkeypatch.setattr(pause_module, "rest", lambda: None)
    reaper = Waiting(signal.SIGTERM, drains=[MemoryError(), MemoryError()])
    assert reap_until_stopped(reaper, Log(-1)) == signal.SIGTERM
    assert reaper.drains == []
