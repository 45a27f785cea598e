"""The pause: no main child; it reaps what it adopts until SIGINT or SIGTERM, and else does nothing."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from support import (DEADLINE, FORWARDED, NAMESPACE, PYTHON, STAND_IN, ZOMBIES_FIRST, Running, children_of, python,
                     read_status, run, shell, wait_until, waits_for_signals, zombies_of)

WARNING = b"Warning: pause should be the first process\n"
WAYS = ["launcher", "--pause", "module", "symlink"]
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


@pytest.fixture(params=WAYS)
def pause(request: pytest.FixtureRequest, launcher: str, pause_launcher: str, tmp_path: Path) -> list[str]:
    """Each way to be a pause."""
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


def start(argv: list[str], mode: str) -> Running:
    """Start a pause and wait until it waits."""
    running = Running(argv, mode)
    try:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
    except BaseException:
        running.__exit__()
        raise
    return running


@pytest.mark.core
@pytest.mark.parametrize("number, name", [(signal.SIGINT, b"Interrupt"), (signal.SIGTERM, b"Terminated")])
def test_end(pause: list[str], first: list[str], number: int, name: bytes) -> None:
    with start([*first, *pause], "pid1") as running:
        running.send(number)
        assert running.finish() == (0, b"", b"Shutting down, got signal: " + name + b"\n")


def test_not_the_first_process(pause: list[str]) -> None:
    """One warning, and it goes on."""
    with start(pause, "") as running:
        assert running.read_error() == WARNING
        running.send(signal.SIGTERM)
        assert running.finish() == (0, b"", WARNING + b"Shutting down, got signal: Terminated\n")


@pytest.mark.core
def test_other_signals_do_nothing(pause: list[str], first: list[str]) -> None:
    with start([*first, *pause], "pid1") as running:
        pid = running.pid
        for number in set(FORWARDED) - {signal.SIGINT, signal.SIGTERM}:
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
    with start([*first, *pause], "pid1") as running:
        pid = running.pid
        for _ in range(3):
            with enter(pid, python(ORPHANS, "100")) as other:
                assert other.stdout.read() == b"done\n"
            wait_until(lambda: not children_of(pid), "all orphans to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def test_orphans_of_others_are_left_without_a_reaper(first: list[str]) -> None:
    with Running([*first, *python(STAND_IN, "--", *shell("echo ready; read line"))], "pid1") as running:
        running.expect("ready")
        with enter(running.pid, python(ORPHANS, "100")) as other:
            assert other.stdout.read() == b"done\n"
        wait_until(lambda: len(zombies_of(running.pid)) == 100, "100 zombies")


def test_storm_in_a_pod(pause: list[str], first: list[str]) -> None:
    """Four containers at once."""
    with start([*first, *pause], "pid1") as running:
        pid = running.pid
        others = [enter(pid, python(ORPHANS, "500")) for _ in range(4)]
        for other in others:
            assert other.communicate(timeout=DEADLINE * 2)[0] == b"done\n"
        wait_until(lambda: not children_of(pid), "all orphans to be reaped")
        running.send(signal.SIGINT)
        assert running.finish().code == 0


def test_children_had_before_exec(pause: list[str], first: list[str]) -> None:
    """Zombies already when the pause begins."""
    with start([*first, *python(ZOMBIES_FIRST, *pause)], "pid1") as running:
        wait_until(lambda: not children_of(running.pid), "the zombies to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def test_sigchld_ignored_at_start(pause: list[str], first: list[str]) -> None:
    with start([*first, "env", "--ignore-signal", *pause], "pid1") as running:
        running.send(signal.SIGINT)
        assert running.finish().code == 0


@pytest.mark.parametrize("way", ["launcher", "symlink"])
@pytest.mark.parametrize("option", ["-v", "-V"])
def test_version(way: str, option: str, launcher: str, pause_launcher: str, tmp_path: Path) -> None:
    """What Kubernetes' pause v3.1 does when called so."""
    (tmp_path / "pause").symlink_to(launcher)
    result = run([pause_launcher if way == "launcher" else tmp_path / "pause", option])
    assert (result.code, result.err, result.out.count(b"\n")) == (0, b"", 1)
    assert b"0." in result.out


def test_arguments_are_ignored(pause_launcher: str, first: list[str]) -> None:
    """As pause v3.1 does: nothing is refused."""
    with start([*first, pause_launcher, "x", "--unknown", "-e", "\udcff"], "pid1") as running:
        running.send(signal.SIGTERM)
        assert running.finish() == (0, b"", b"Shutting down, got signal: Terminated\n")


@pytest.mark.parametrize("shut", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_broken_stdio(pause: list[str], first: list[str], shut: str) -> None:
    with start([*first, *shell(f'exec "$@" {shut}', *pause)], "pid1") as running:
        with enter(running.pid, python(ORPHANS, "5")) as other:
            assert other.stdout.read() == b"done\n"
        wait_until(lambda: not children_of(running.pid), "all orphans to be reaped")
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def test_empty_environment(pause_launcher: str, first: list[str]) -> None:
    """CRI gives neither PATH nor anything else that can be relied on; root read-only, cwd /."""
    with Running([*first, pause_launcher], "pid1", env={}, cwd="/") as running:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
        running.send(signal.SIGTERM)
        assert running.finish() == (0, b"", b"Shutting down, got signal: Terminated\n")


def test_main_child_is_refused(launcher: str) -> None:
    result = run([launcher, "--pause", "true"])
    assert result.code == 1 and b"--pause takes no command" in result.err
