"""In a test run in several processes every report and warning arrives, and a worker's death or an interrupt ends it.

Each test runs pytest again, with the conftest.py of the tests, on two modules that the test writes.
"""

from __future__ import annotations

import re
import signal
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from support import nested
from support.proc import read_stat
from support.processes import Result, Running
from support.settings import DEADLINE
from support.terminal import Terminal
from support.waiting import wait_until

# A module whose tests run in one process while those of the other module run in another.
MODULE = """
import os, signal, subprocess, time, warnings
from pathlib import Path
import pytest

FOLDER = Path(__file__).parent

@pytest.fixture(scope="module", autouse=True)
def meet():
    (FOLDER / f"{{os.getpid()}}.worker").touch()
    end = time.monotonic() + 20
    while len(list(FOLDER.glob("*.worker"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    yield
    (FOLDER / f"{{os.getpid()}}.torn-down").touch()

@pytest.mark.parametrize("number", range(3))
def test_first(number):
    print("said by {name}", number)
    {body}

def test_last():
    pass
"""


def command(folder: Path, body: str, *options: str) -> list[str]:
    """Return the command that runs two modules in two workers. body: statements for a test of the first."""
    modules = {f"test_{name}.py": MODULE.format(name=name, body=text) for name, text in (("a", body), ("b", "pass"))}
    return nested.command(folder, modules, "--processes=2", *options)


def test_every_report_arrives(tmp_path: Path) -> None:
    """Each test is reported once, with its output and its warnings, and the modules run in two processes."""
    report = tmp_path / "report.xml"
    body = "warnings.warn(UserWarning('held', open('/dev/null'))); assert number != 1"
    done = nested.run(command(tmp_path, body, f"--junit-xml={report}"))
    assert (done.returncode, done.stderr) == (1, "")
    assert re.search(r"1 failed, 7 passed, 3 warnings in", done.stdout), done.stdout
    cases = [f"{case.get('classname')} {case.get('name')}" for case in ElementTree.parse(report).iter("testcase")]
    expected = [f"test_{module} test_{name}" for module in "ab"
                for name in ("first[0]", "first[1]", "first[2]", "last")]
    assert sorted(cases) == expected
    # Only the output of the test that failed is shown.
    assert re.findall("said by . .", done.stdout) == ["said by a 1"]
    assert len(list(tmp_path.glob("*.worker"))) == len(list(tmp_path.glob("*.torn-down"))) == 2


def test_a_process_that_is_left_fails_the_run(tmp_path: Path) -> None:
    body = "from support import isolation; isolation.PATIENCE = 0.1; subprocess.Popen(['sleep', '1234'])"
    done = nested.run(command(tmp_path, body))
    # pytest names each once or twice, as the summary may be cut.
    found = set(re.findall(r"left behind by test_a.py::test_first\[\d\]: process (\d+) of user \S+: sleep 1234\n",
                           done.stdout))
    assert done.returncode == 1 and len(found) == 3 and "8 passed, 3 errors in" in done.stdout, done.stdout
    for pid in found:
        wait_until(lambda: not read_stat(int(pid)), "what was left to be killed")


@pytest.mark.parametrize("body", ["os._exit(0)", "os.kill(os.getpid(), signal.SIGKILL)",
                                  "os.kill(os.getpid(), signal.SIGINT)"])
def test_a_worker_that_ends_early(tmp_path: Path, body: str) -> None:
    """The reports that it has sent are shown, and the run does not pass. It sends two: how far the other worker has
    come by then is left open.
    """
    done = nested.run(command(tmp_path, f"assert number; number == 2 and {body}"))
    assert done.returncode == pytest.ExitCode.INTERNAL_ERROR
    assert "RuntimeError: a worker ended early, in test_a.py" in done.stdout, done.stdout
    assert re.search(r"1 failed, \d passed in", done.stdout), done.stdout


def test_an_interrupt_that_a_test_swallows(tmp_path: Path) -> None:
    """The worker goes on with the next test, whose report nobody reads: it ends, and the run with it."""
    body = """
    while number == 0:
        try:
            (FOLDER / "ready").touch()
            time.sleep(1000)
        except KeyboardInterrupt:
            break
"""
    with Running(command(tmp_path, body)) as running:
        wait_until(lambda: (tmp_path / "ready").exists(), "the test")
        running.send(signal.SIGINT)
        assert running.process.wait(DEADLINE) == pytest.ExitCode.INTERRUPTED


def test_the_first_failure_ends_the_run(tmp_path: Path) -> None:
    """With -x the other worker is interrupted, and its fixtures are torn down."""
    # Until a test of the other worker runs, the interrupt could come in the setup of its fixture.
    first = "while not (FOLDER / 'runs').exists(): time.sleep(0.01)\n    assert False"
    modules = {"test_a.py": MODULE.format(name="a", body=first),
               "test_b.py": MODULE.format(name="b", body="(FOLDER / 'runs').touch(); time.sleep(1000)")}
    done = nested.run(nested.command(tmp_path, modules, "--processes=2", "-x"))
    assert (done.returncode, done.stderr) == (1, "")
    assert "1 failed in" in done.stdout and "stopping after 1 failures" in done.stdout
    assert len(list(tmp_path.glob("*.torn-down"))) == 2


@pytest.mark.parametrize("is_key", [False, True])
def test_interrupt(tmp_path: Path, is_key: bool) -> None:
    """SIGINT to the run, or Ctrl-C to all its processes: fixtures are torn down, and no worker prints a traceback."""
    body = "child = subprocess.Popen(['sleep', '1000']); " \
           "(FOLDER / f'{child.pid}.child').touch(); time.sleep(1000)"
    modules = {f"test_{name}.py": MODULE.format(name=name, body=body) for name in "ab"}
    argv = nested.command(tmp_path, modules, "--processes=2")
    error = tempfile.TemporaryFile()
    with Terminal() as terminal, terminal.start(argv, stdout=subprocess.DEVNULL, stderr=error) as running:
        wait_until(lambda: len(list(tmp_path.glob("*.child"))) == 2, "both tests")
        if is_key:
            terminal.type(b"\x03")
        else:
            running.send(signal.SIGINT)
        assert running.finish() == Result(pytest.ExitCode.INTERRUPTED, b"", b"")
    assert len(list(tmp_path.glob("*.torn-down"))) == 2
    assert [read_stat(int(path.stem)) for path in tmp_path.glob("*.child")] == [[], []]
