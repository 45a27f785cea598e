"""A test run passes nothing that it inherits on to the tests, and fails if it leaves a process behind.

Each test runs pytest again, with the conftest.py of the tests, on a module that the test writes.
"""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from support import nested
from support.proc import read_stat
from support.processes import Running, python, source
from support.settings import DEADLINE, NAMESPACE
from support.waiting import wait_until

DAEMON = source("as_daemon")

SLEEP = ["sleep", "1234"]
IN_NAMESPACE = [word for word in NAMESPACE if word != "--kill-child"]
AS_OTHER = ["setpriv", "--reuid=1234", "--clear-groups"]

MODULE = """
import signal, subprocess, time

def run(*argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True).stdout.decode()

def test_first():
    {body}

def test_last():
    pass
"""


def command(folder: Path, body: str, *options: str) -> list[str]:
    """Return the command line of a run of two tests, the first of which has this body."""
    return nested.command(folder, {"test_nested.py": MODULE.format(body=body)}, *options)


# Leaves processes, the last of which has executed sleep(1): the command line is empty during execve(2).
LEAVE = """from pyinit.linux.procfs import list_processes
    from support import isolation, proc, waiting
    isolation.PATIENCE = 0.1
    subprocess.{start}({argv!r})
    waiting.wait_until(lambda: {line!r} in map(proc.read_cmdline, list_processes()), "sleep to run")"""


@pytest.mark.parametrize("front", [
    pytest.param([], id="child"),
    pytest.param(python(DAEMON), id="daemon"),
    pytest.param(python(DAEMON, "env", "-i"), id="no environment"),
    pytest.param(python(DAEMON, *AS_OTHER), id="other user"),
    pytest.param(python(DAEMON, *IN_NAMESPACE), id="namespace"),
])
def test_a_process_that_is_left_fails_the_run(request: pytest.FixtureRequest, tmp_path: Path, front: list[str]) -> None:
    """The run names the process with the test that left it, which is not the last test, and kills it."""
    if os.geteuid() and AS_OTHER[0] in front:
        pytest.skip("needs root")
    if IN_NAMESPACE[0] in front:
        request.getfixturevalue("namespaces")
    sleep = ["sleep", f"1234{os.getpid()}"]  # no other run of this test has the same
    line = "".join(f"{word}\0" for word in sleep).encode()
    body = LEAVE.format(start="run" if front else "Popen", argv=[*front, *sleep], line=line)
    done = nested.run(command(tmp_path, body))
    found = re.findall(r"left behind by test_nested.py::test_first: process (\d+) of user \S+: (.*)", done.stdout)
    assert done.returncode == 1 and found, done.stdout + done.stderr
    assert all(line.endswith(" ".join(sleep)) for _, line in found)
    assert re.search(r"2 passed, \d errors? in", done.stdout)
    for pid, _ in found:
        wait_until(lambda: not read_stat(int(pid)), "what was left to be killed")


def test_a_run_that_leaves_nothing_passes(tmp_path: Path) -> None:
    """Neither a zombie nor a process that soon ends by itself counts as left behind."""
    body = f"subprocess.Popen(['sleep', '1000']).kill(); run(*{python(DAEMON, 'sleep', '0.2')!r})"
    done = nested.run(command(tmp_path, body))
    assert (done.returncode, done.stderr) == (0, "") and "2 passed in" in done.stdout, done.stdout


def test_a_failed_run_fails(tmp_path: Path) -> None:
    done = nested.run(command(tmp_path, "assert False"))
    assert done.returncode == 1 and "1 failed, 1 passed in" in done.stdout


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 2), (signal.SIGTERM, 128 + signal.SIGTERM)])
def test_a_signal_ends_the_run_and_all_that_it_has_started(tmp_path: Path, number: int, code: int) -> None:
    body = f"child = subprocess.Popen({SLEEP!r}); " \
           "print('started', child.pid, flush=True); time.sleep(1000)"
    with Running(command(tmp_path, body, "-s")) as running:
        child = int(running.read_line().split()[1])
        running.send(number)
        assert running.process.wait(DEADLINE) == code
        assert read_stat(child) == []


def test_the_tests_start_programs_with_default_signals(tmp_path: Path) -> None:
    """Also if the run has inherited ignored and blocked signals."""
    body = "text = run('cat', '/proc/self/status'); " \
           "assert [line for line in text.split('\\n') if line[:6] in ('SigIgn', 'SigBlk') and int(line[8:], 16)] == []"
    argv = command(tmp_path, body)
    done = nested.run(["env", "--ignore-signal", "--block-signal", *argv])
    assert done.returncode == 0, done.stdout + done.stderr


def test_variables_that_programs_obey_do_not_reach_the_tests(tmp_path: Path) -> None:
    body = "text = run('env'); assert 'TINI_' not in text and 'PYTHONUNBUFFERED' not in text"
    done = nested.run(["env", "TINI_SUBREAPER=", "TINI_VERBOSITY=3", "PYTHONUNBUFFERED=1", *command(tmp_path, body)])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_under_nohup_outlives_a_hangup(tmp_path: Path) -> None:
    body = "print('started', flush=True); input(); assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN"
    with Running(["nohup", *command(tmp_path, body, "-s")]) as running:
        running.expect("started")
        os.killpg(running.pid, signal.SIGHUP)
        running.write(b"\n")
        assert running.finish().code == 0
