"""Parents that leave zombies, and the zombie report on them as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional, TypedDict

import pytest

from support.processes import Command, Running, python, run, source
from support.settings import PYTHON

REPORT = [PYTHON, "-m", "pyinit.zombies"]

# Runs {before}, leaves children that have ended, writes "ready", and waits for its stdin.
LEAVE = """
import os, signal, sys
{before}
for _ in range(int(sys.argv[1])):
    child = os.fork() or os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
os.write(1, b"ready\\n")
os.read(0, 1)
"""

# Keeps one zombie at any time. For each byte on stdin replaces it by another, and writes "replaced".
REPLACE = source("late_zombies")

# Runs the report with a function that writes the seconds that it is to sleep, and returns at a byte on stdin.
STEPS = """
import os, sys, time
from pyinit.zombies import cli
def sleep(seconds):
    os.write(1, b"sleeps %.1f\\n" % seconds)
    os.read(0, 1)
{name} = sleep
sys.exit(cli.main())
"""
needs_root = pytest.mark.usefixtures("needs_root")


def leave(count: int, before: str = "") -> list[str]:
    """Return a command that leaves `count` zombies, after the statements of `before`."""
    return python(LEAVE.format(before=before), str(count))


@contextmanager
def ready(argv: Command, mode: str = "") -> Iterator[Running]:
    """Run a program that has written "ready"; the end of the `with` kills it."""
    with Running(argv, mode) as running:
        running.expect("ready")
        yield running


def report_in_steps(name: str, *options: str) -> Running:
    """Run the report; instead of each call of the function `name`, it waits for the test, as STEPS says."""
    return Running([PYTHON, "-c", STEPS.format(name=name), "--json", *options])


class ProcessInReport(TypedDict):
    """A process that a verdict names."""

    pid: int
    name: str
    state: str


class ParentInReport(TypedDict):
    """The parent of zombies; a field that cannot be read is None."""

    pid: int
    name: Optional[str]
    command: Optional[str]
    state: Optional[str]
    sigchld: Optional[str]
    container: Optional[dict[str, str]]


class AncestorInReport(TypedDict):
    """An ancestor of the parent of zombies, up to PID 1."""

    pid: int
    command: str


class GroupInReport(TypedDict):
    """The zombies of one parent: the fields of docs/zombie-report.md that tests read."""

    zombies: int
    cause: str
    verdict: str
    growth_per_minute: Optional[float]
    names: dict[str, int]
    pids: list[int]
    parent: ParentInReport
    chain: list[AncestorInReport]
    responsible: list[ProcessInReport]


class BudgetInReport(TypedDict):
    """A limit that zombies use up."""

    budget: str
    scope: str
    used: int
    limit: int
    growth_per_minute: Optional[float]
    seconds_left: Optional[float]


class ReportAsJson(TypedDict):
    """The report: the fields of docs/zombie-report.md that tests read."""

    zombies: int
    groups: list[GroupInReport]
    budgets: list[BudgetInReport]


def report(*options: str) -> ReportAsJson:
    """Run the zombie report and return its JSON."""
    result = run([*REPORT, "--json", *options])
    assert (result.code, result.err) == (0, b"")
    answer: ReportAsJson = json.loads(result.out)
    return answer


def groups_of(pid: int, *options: str) -> list[GroupInReport]:
    """Run the report and return its groups of one parent's zombies."""
    return select_groups(report(*options), pid)


def select_groups(told: ReportAsJson, pid: int) -> list[GroupInReport]:
    """Return the groups of one parent's zombies in a report."""
    return [group for group in told["groups"] if group["parent"]["pid"] == pid]
