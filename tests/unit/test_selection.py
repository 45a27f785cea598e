"""A plain run leaves out marked tests and further combinations, and says so; --everything runs them, too."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

import conftest
from support import nested
from support.selection import USUAL, describe, is_combination

# Two modules of tests/process and one of tests/unit, whose tests do nothing.
PROCESSES = """
import pytest

def test_of_a_module_that_is_not_known():
    pass

@pytest.mark.everything("storms")
def test_marked():
    pass

@pytest.mark.container
def test_container():
    pass

@pytest.mark.vm
def test_vm():
    pass

@pytest.mark.usual("mode")
@pytest.mark.parametrize("mode", ["pid1", "subreaper"])
def test_usual(mode):
    pass

@pytest.mark.parametrize("mode", ["pid1", "subreaper"])
@pytest.mark.parametrize("reaper", ["wait", "kernel"])
def test_ways(mode, reaper):
    pass
"""
PURE = "def test_pure(): pass"
TRIES = "from support.selection import amount\n\ndef test_tries(): pass"
MODULES = {"process/test_a.py": PROCESSES, "process/test_c.py": TRIES, "unit/test_b.py": PURE}
QUICK = ["test_pure", "test_of_a_module_that_is_not_known", "test_usual[subreaper]",
         "test_ways[wait-pid1]", "test_ways[wait-subreaper]", "test_ways[kernel-subreaper]", "test_tries"]
LEFT_OUT = {"test_marked", "test_container", "test_vm", "test_usual[pid1]", "test_ways[kernel-pid1]"}


@pytest.mark.parametrize("parameters, expected", [
    ({}, False),
    ({"mode": "subreaper", "reaper": "wait", "any_init": "launcher"}, False),
    ({"mode": "pid1"}, False),
    ({"mode": "pid1", "reaper": "wait"}, False),
    ({"reaper": "kernel", "mode": "subreaper"}, False),
    ({"any_init": "module", "mode": "subreaper"}, False),
    ({"mode": "pid1", "reaper": "kernel"}, True),
    ({"mode": "pid1", "any_init": "module"}, True),
    ({"reaper": "kernel", "any_init": "module"}, True),
    ({"mode": "pid1", "reaper": "kernel", "any_init": "module"}, True),
    ({"number": 15, "options": ["-g"], "mode": "pid1"}, False),
])
def test_which_combinations_are_left_out(parameters: dict[str, object], expected: bool) -> None:
    assert is_combination(parameters) == expected


@pytest.mark.parametrize("parameters, usual, expected", [
    ({"mode": "pid1"}, ["mode"], True), ({"mode": "subreaper"}, ["mode"], False), ({}, ["mode"], False),
    ({"mode": "pid1"}, ["reaper"], False), ({"reaper": "kernel"}, ["mode", "reaper"], True)])
def test_dimensions_in_which_a_test_is_usual(parameters: dict[str, object], usual: list[str], expected: bool) -> None:
    assert is_combination(parameters, usual) == expected


def test_the_dimensions_are_fixtures() -> None:
    """If a fixture were renamed but not its entry in USUAL, a plain run would try all its combinations."""
    assert [name for name in USUAL if not hasattr(conftest, name)] == []


def test_the_line_names_the_largest_group_first() -> None:
    assert describe({"storms": 3, "in containers": 20}) == (
        "Left out: 23 tests (20 in containers, 3 storms). Run them, too: pytest --everything")


def run(folder: Path, *options: str) -> tuple[str, list[str]]:
    """Run the modules in one process; return the output, and the names of the tests in the JUnit report."""
    report = folder / "report.xml"
    done = nested.run(nested.command(folder, MODULES, "--processes=1", f"--junit-xml={report}", *options))
    assert done.returncode == 0, done.stdout + done.stderr
    cases = ElementTree.parse(report).iter("testcase")
    return done.stdout, [case.get("name", "") for case in cases]


def test_a_plain_run_says_what_it_leaves_out(tmp_path: Path) -> None:
    """The report has no tests that were left out. Tests of unit/ come first."""
    output, names = run(tmp_path)
    assert names == QUICK
    assert "Left out: 5 tests (" in output and "pytest --everything" in output
    assert re.search(rf"{len(QUICK)} passed, {len(LEFT_OUT)} deselected", output)


def test_the_rest_is_what_a_plain_run_leaves_out(tmp_path: Path) -> None:
    """--left-out also runs tests that try less often in a plain run."""
    output, names = run(tmp_path, "--left-out")
    assert set(names) == {*LEFT_OUT, "test_tries"} and len(names) == len(LEFT_OUT) + 1
    assert "Left out" not in output


def test_everything_leaves_nothing_out(tmp_path: Path) -> None:
    output, names = run(tmp_path, "--everything")
    assert set(names) == {*QUICK, *LEFT_OUT} and len(names) == len(QUICK) + len(LEFT_OUT)
    assert "Left out" not in output and "deselected" not in output
