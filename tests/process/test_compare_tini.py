"""pyinit and tini, if it is installed, have the same outcome in the same cases."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence

import pytest

from support.inits import Init
from support.orphans import ONE_BY_ONE, run_scene, scene
from support.processes import python, run, shell
from support.settings import DEADLINE

TINI = shutil.which("tini") or ""
pytestmark = pytest.mark.skipif(not TINI, reason="no tini to compare with")

# Options that both have, and commands.
CASES = {
    "true": ([], ["true"]),
    "exit 42": ([], shell("exit 42")),
    "exit 255": ([], shell("exit 255")),
    "killed": ([], shell("kill -9 $$")),
    "terminated": ([], shell("kill -15 $$")),
    "remapped": (["-e", "42"], shell("exit 42")),
    "remapped twice": (["-e", "41", "-e", "42"], shell("exit 42")),
    "remapped signal": (["-e", "143"], shell("kill -15 $$")),
    "not remapped": (["-e", "41"], shell("exit 42")),
    "group": (["-g"], shell("exit 3")),
    "parent-death signal": (["-p", "SIGTERM"], shell("exit 4")),
    "all letters": (["-gw", "-e9", "-pSIGTERM"], shell("exit 9")),
    "missing": ([], ["/no/such/file"]),
    "missing, by name": ([], ["no-such-file-anywhere"]),
    "folder": ([], ["/"]),
    "not executable": ([], ["/etc/hostname"]),
    "arguments": ([], shell('printf "%s|" "$@"', "a b", "", "-x", "--")),
    "environment": ([], ["cat", "/proc/self/environ"]),
    "stdin": ([], ["cat"]),
    "orphans": ([], shell("(true &); (true &); exit 5")),
    "ignored signals": ([], ["grep", "SigIgn", "/proc/self/status"]),
    "blocked signals": ([], ["grep", "SigBlk", "/proc/self/status"]),
    "umask": ([], shell("umask")),
    "limits": ([], ["cat", "/proc/self/limits"]),
}
REFUSED = [[], ["--"], ["-x", "true"], ["-e", "256", "true"], ["-e", "x", "true"], ["-p", "NOSUCH", "true"],
           ["-e"], ["-p"]]
LISTENER = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
os.write(1, b"ready\\n")
while True:
    os.write(1, b"%d\\n" % signal.sigwait({signal.SIGUSR1, signal.SIGTERM}))
"""


@pytest.fixture
def tini(mode: str) -> Init:
    return Init(mode, [TINI])


@pytest.mark.parametrize("name", CASES)
def test_same_outcome(init: Init, tini: Init, name: str) -> None:
    options, command = CASES[name]
    ours, theirs = init.run(command, options), tini.run(command, options)
    assert (ours.code, ours.out) == (theirs.code, theirs.out)


@pytest.mark.parametrize("arguments", REFUSED, ids=str)
def test_same_refusals(mode: str, init: Init, arguments: Sequence[str]) -> None:
    ours = run([*init.prefix(), *init.program, *arguments])
    theirs = run([*init.prefix(), TINI, *arguments])
    assert ours.code == theirs.code == 1
    assert ours.err and theirs.err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGQUIT,
                                    signal.SIGWINCH, signal.SIGCONT])
def test_same_end_by_signal(init: Init, tini: Init, number: int) -> None:
    codes = []
    for one in (init, tini):
        with one.start(shell("ulimit -c 0; echo ready; read line; exit 8")) as running:
            running.expect("ready")
            running.send(number)
            if number in (signal.SIGWINCH, signal.SIGCONT):
                running.write(b"\n")
            codes.append(running.process.wait(DEADLINE))
    assert codes[0] == codes[1]


def test_same_orphans(init: Init, tini: Init) -> None:
    """Both reap all orphans, and report each with -w."""
    for one in (init, tini):
        error = run_scene(one, scene(ONE_BY_ONE, 20), ["-w"])
        assert error.lower().count(b"reaped zombie process") == 20


def test_same_stops(init: Init, tini: Init) -> None:
    """Signals that are sent one after another arrive in the same order."""
    seen = []
    for one in (init, tini):
        with one.start(python(LISTENER)) as running:
            running.expect("ready")
            lines = []
            for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGUSR1):
                running.send(number)
                lines.append(running.read_line())
            seen.append(lines)
    assert seen[0] == seen[1] == ["10", "15", "10"]


def test_same_warning(init: Init) -> None:
    """As neither PID 1 nor a subreaper, both warn and continue. With TINI_SUBREAPER neither warns."""
    for program in ([*init.program, "--as", "tini"], [TINI]):
        result = run([*program, "--", *shell("exit 3")])
        assert result.code == 3 and b"zombie reaping won't work" in result.err
        assert run([*program, "--", *shell("exit 3")], env={"TINI_SUBREAPER": ""}) == (3, b"", b"")
