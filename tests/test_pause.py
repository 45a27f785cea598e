"""The pause: no main child; it reaps what it adopts until SIGINT or SIGTERM, and else does nothing."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from conftest import lean_command
from support import (CLONES, CLONES_FIRST, DEADLINE, FORWARDED, NAMESPACE, PYTHON, STAND_IN, ZOMBIES_FIRST, Running,
                     children_of, number_of, python, run, shell, start_pause, wait_until, waits_for_signals, zombies_of)

from pyinit import __version__
from pyinit.lean import MACHINES
from pyinit.log import Log
from pyinit.supervisor import pause as pause_module
from pyinit.supervisor.pause import RETRIES, reap_until_stopped

WARNING = b"Warning: pause should be the first process\n"
WAYS = ["launcher", "--pause", "module", "symlink"]
LEAN = [f"lean {machine}" for machine in MACHINES]
# QEMU catches the signals that end a program by default, so that the kernel does not drop them for PID 1.
HARMLESS_EMULATED = {signal.SIGCONT, signal.SIGPIPE, signal.SIGTTOU, signal.SIGURG, signal.SIGWINCH, signal.SIGXFSZ}
# Leaves N orphans to the PID 1 of its namespace and says when they have all exited.
ORPHANS = """
import os, sys
alive, hold = os.pipe()
for _ in range(int(sys.argv[1])):
    if os.fork() == 0:
        os.fork()
        os._exit(0)
    os.wait()
os.close(hold)
os.read(alive, 1)
os.write(1, b"done\\n")
"""


@pytest.fixture(params=WAYS + LEAN)
def pause(request: pytest.FixtureRequest, launcher: str, pause_launcher: str, lean_pauses: dict[str, str],
          tmp_path: Path) -> list[str]:
    """Each way to be a pause."""
    if request.param in LEAN:
        return lean_command(request.param.split()[1], lean_pauses)
    link = tmp_path / "pause"
    link.symlink_to(launcher)
    return {"launcher": [pause_launcher], "--pause": [launcher, "--pause"],
            "module": [PYTHON, "-m", "pyinit", "--pause"], "symlink": [str(link)]}[request.param]


@pytest.fixture
def first(namespaces: bool) -> list[str]:
    """What makes the pause PID 1."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    return NAMESPACE


@pytest.mark.core
@pytest.mark.parametrize("number, name", [(signal.SIGINT, b"Interrupt"), (signal.SIGTERM, b"Terminated")])
def test_end(pause: list[str], first: list[str], number: int, name: bytes) -> None:
    with start_pause([*first, *pause], "pid1") as running:
        running.send(number)
        assert running.finish() == (0, b"", b"Shutting down, got signal: " + name + b"\n")


def test_not_the_first_process(pause: list[str]) -> None:
    """One warning, and it goes on."""
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
    """Run a command in the PID namespace of a process, as a container in a pod or a health check is run."""
    user = ["--user", "--preserve-credentials"] if os.geteuid() else []
    return subprocess.Popen(["nsenter", f"--target={pid}", "--pid", "--mount", *user, *command],
                            stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)


@pytest.mark.core
def test_orphans_of_others_are_reaped(pause: list[str], first: list[str]) -> None:
    """A pod's containers share its namespace: their orphans are the pause's."""
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
    """A pod's image can set a variable, but nobody gives its pause an argument."""
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
    """Four containers at once."""
    with start_pause([*first, *pause], "pid1") as running:
        pid = running.pid
        others = [enter(pid, python(ORPHANS, "500")) for _ in range(4)]
        for other in others:
            assert other.communicate(timeout=DEADLINE * 2)[0] == b"done\n"
        wait_until(lambda: not children_of(pid), "all orphans to be reaped")
        running.send(signal.SIGINT)
        assert running.finish().code == 0


def test_children_had_before_exec(pause: list[str], first: list[str]) -> None:
    """Zombies already when the pause begins."""
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
    """For the zombies no SIGCHLD will come; for the others one does, as their parent has executed."""
    with start_pause([*first, *python(CLONES_FIRST, str(number_of("clone")), *pause)], "pid1") as running:
        wait_until(lambda: not children_of(running.pid), "the zombies to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def test_clones_left_by_others(pause: list[str], first: list[str]) -> None:
    """Adopted, their end raises SIGCHLD: the kernel sees to that."""
    with start_pause([*first, *pause], "pid1") as running:
        with enter(running.pid, python(CLONES_LEFT, str(number_of("clone")))) as other:
            assert other.stdout.read() == b"done\n"
        wait_until(lambda: not children_of(running.pid), "all orphans to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


# Leaves one orphan, which makes the PID 1 of its namespace its tracer and exits.
TRACED = """
import ctypes, os
alive, hold = os.pipe()
parent = os.fork()
if parent == 0:
    if os.fork():
        os._exit(0)
    while os.getppid() != 1:
        os.sched_yield()
    if ctypes.CDLL(None).ptrace(0, 0, None, None) == 0:  # PTRACE_TRACEME
        os.write(hold, b"traced\\n")
    os._exit(0)
os.waitpid(parent, 0)
os.close(hold)
os.write(1, os.read(alive, 10))
os.read(alive, 1)
"""


def test_traced_orphan_is_reaped(pause: list[str], first: list[str]) -> None:
    """ptrace(2): its zombie is the tracer's, also where that ignores SIGCHLD."""
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
    """What Kubernetes' pause v3.1 does when called so."""
    assert run([*pause, option]) == (0, b"pause.py %s\n" % __version__.encode(), b"")


@pytest.mark.parametrize("pause", ["launcher", *LEAN], indirect=True)
def test_arguments_are_ignored(pause: list[str], first: list[str]) -> None:
    """As pause v3.1 does: nothing is refused."""
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
    """The pod's namespace goes with the pause: it says so, and waits again."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    tracer = ["strace", "-qq", "-o", str(tmp_path / "calls"), "--trace=rt_sigtimedwait",
              "--inject=rt_sigtimedwait:error=ENOMEM:when=1"]
    with Running([*tracer, pause_launcher]) as running:
        def find() -> list[int]:  # strace(1) itself tries what it can do in children of its own
            return [pid for pid in children_of(running.pid) if waits_for_signals(pid)]

        wait_until(find, "the pause to wait again")
        os.kill(*find(), signal.SIGTERM)
        result = running.finish()
        assert result.code == 0
        assert b"pyinit: warning: " in result.err and result.err.endswith(b"Shutting down, got signal: Terminated\n")


@pytest.mark.parametrize("pause", ["launcher", *LEAN], indirect=True)
def test_empty_environment(pause: list[str], first: list[str]) -> None:
    """CRI gives neither PATH nor anything else that can be relied on; root read-only, cwd /."""
    with Running([*first, *pause], "pid1", env={}, cwd="/") as running:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
        running.send(signal.SIGTERM)
        assert running.finish() == (0, b"", b"Shutting down, got signal: Terminated\n")


def test_main_child_is_refused(launcher: str) -> None:
    result = run([launcher, "--pause", "true"])
    assert result.code == 1 and b"--pause takes no command" in result.err


class Waiting:
    """A reaper whose waits end as told: by a signal, or by an error."""

    def __init__(self, *ends: object) -> None:
        self.ends = list(ends)

    def drain(self) -> None:
        """No zombie is there."""

    def wait(self) -> int:
        end = self.ends.pop(0)
        if isinstance(end, BaseException):
            raise end
        return end


REFUSED = OSError(1, "Operation not permitted")


@pytest.mark.parametrize("ends, expected", [
    ([MemoryError()] * 3 * RETRIES + [signal.SIGTERM], signal.SIGTERM),  # that may pass
    ([REFUSED] * RETRIES + [signal.SIGINT], signal.SIGINT),
    (([REFUSED] * RETRIES + [signal.SIGCHLD]) * 2 + [signal.SIGTERM], signal.SIGTERM),
    ([REFUSED] * (RETRIES + 1), 0),
    ([signal.SIGHUP, signal.SIGUSR1, signal.SIGINT], signal.SIGINT),
], ids=["memory", "refused for a while", "refused twice", "refused for ever", "others"])
def test_waits_that_fail(ends: list, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pause_module, "rest", lambda: None)
    assert reap_until_stopped(Waiting(*ends), Log(-1)) == expected
