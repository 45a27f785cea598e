"""The run itself: what it inherits does not reach the tests, and it fails for a process that it leaves behind.

Each test runs pytest once more, with the conftest.py of this folder, on a module of its own.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import DEADLINE, NAMESPACE, ROOT, Running, python, read_stat, wait_until

TESTS = str(Path(__file__).parent)

# Runs its argv as a daemon: in a session of its own, with a parent that has exited.
DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp(sys.argv[1], sys.argv[1:])
    os._exit(0)
os.wait()
"""

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
    """The command line of a run of two tests, the first of which has that body."""
    module = folder / "test_nested.py"
    module.write_text(MODULE.format(body=body))
    path = f"PYTHONPATH={TESTS}:{os.environ.get('PYTHONPATH', '')}"
    return ["env", path, sys.executable, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", "-q",
            f"--rootdir={folder}", *options, str(module)]


def run(argv: list[str]) -> subprocess.CompletedProcess:
    """Run it to its end."""
    return subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=DEADLINE * 2)


@pytest.mark.parametrize("argv", [
    pytest.param(SLEEP, id="child"),
    pytest.param(python(DAEMON, *SLEEP), id="daemon"),
    pytest.param(python(DAEMON, "env", "-i", *SLEEP), id="no environment"),
    pytest.param(python(DAEMON, *AS_OTHER, *SLEEP), id="other user"),
    pytest.param(python(DAEMON, *IN_NAMESPACE, *SLEEP), id="namespace"),
])
def test_a_process_that_is_left_fails_the_run(tmp_path: Path, argv: list[str], namespaces: bool) -> None:
    """It is named with the test that has left it, which is not the last one, and is ended."""
    if os.geteuid() and AS_OTHER[0] in argv:
        pytest.skip("needs root")
    if not namespaces and IN_NAMESPACE[0] in argv:
        pytest.skip("no PID namespaces can be made here")
    start = "Popen" if argv == SLEEP else "run"
    done = run(command(tmp_path, f"import isolation; isolation.PATIENCE = 0.1; subprocess.{start}({argv!r})"))
    found = re.findall(r"left behind by test_nested.py::test_first: process (\d+) of user \S+: (.*)", done.stdout)
    assert done.returncode == 1 and found, done.stdout + done.stderr
    assert all(line.endswith(" ".join(SLEEP)) for _, line in found)
    assert re.search(r"2 passed, \d errors? in", done.stdout)
    for pid, _ in found:
        wait_until(lambda: not read_stat(int(pid)), "what was left to be killed")


def test_a_run_that_leaves_nothing_passes(tmp_path: Path) -> None:
    """What has been ended counts for nothing, even if nobody has waited for it, nor what ends by itself at once."""
    body = f"subprocess.Popen(['sleep', '1000']).kill(); run(*{python(DAEMON, 'sleep', '0.2')!r})"
    done = run(command(tmp_path, body))
    assert (done.returncode, done.stderr) == (0, "") and "2 passed in" in done.stdout, done.stdout


def test_a_failed_run_fails(tmp_path: Path) -> None:
    done = run(command(tmp_path, "assert False"))
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
    """Whatever the run has inherited."""
    body = "text = run('cat', '/proc/self/status'); " \
           "assert [line for line in text.split('\\n') if line[:6] in ('SigIgn', 'SigBlk') and int(line[8:], 16)] == []"
    argv = command(tmp_path, body)
    done = run(["env", "--ignore-signal", "--block-signal", *argv])
    assert done.returncode == 0, done.stdout + done.stderr


def test_variables_that_programs_obey_do_not_reach_the_tests(tmp_path: Path) -> None:
    body = "text = run('env'); assert 'TINI_' not in text and 'PYTHONUNBUFFERED' not in text"
    done = run(["env", "TINI_SUBREAPER=", "TINI_VERBOSITY=3", "PYTHONUNBUFFERED=1", *command(tmp_path, body)])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_run_under_nohup_outlives_a_hangup(tmp_path: Path) -> None:
    body = "print('started', flush=True); input(); assert signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN"
    with Running(["nohup", *command(tmp_path, body, "-s")]) as running:
        running.expect("started")
        os.killpg(running.pid, signal.SIGHUP)
        running.write(b"\n")
        assert running.finish().code == 0
