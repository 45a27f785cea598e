"""Each form of the zombie report has the correct content: the status line, metrics, JSON and the table."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from pyinit.zombies.analyse.report import Report, make_report
from pyinit.zombies.cli import parse_arguments, render
from pyinit.zombies.collect.cgroupfs import Limit
from pyinit.zombies.collect.snapshot import TICKS_PER_SECOND, Process, Snapshot
from pyinit.zombies.render.as_json import as_dictionary, format_json
from pyinit.zombies.render.check import UNKNOWN, Thresholds, judge, status_line
from pyinit.zombies.render.exposition import format_metrics
from pyinit.zombies.render.table import format_report, headline
from pyinit.zombies.render.words import printable
from support.snapshots import APP, COMMANDS, INIT, incident, process, snapshot, zombies


def test_status_line() -> None:
    assert status_line(incident(), Thresholds(warn=100, critical=1000, warn_time=600)) == (
        "ZOMBIES WARNING: 300 zombies, cgroup used up in 5m, 300 of app (10), cgroup is that of /kubepods | "
        "zombies=300;100;1000;0 time_left=300s;600:;;0")
    calm = make_report(snapshot([INIT]), None, [])
    assert status_line(calm, Thresholds(warn=1)) == "ZOMBIES OK: 0 zombies | zombies=0;1;;0"


def test_status_line_stays_one() -> None:
    named = make_report(snapshot([INIT, APP._replace(name="a\nb|c\x1b"), *zombies(10, 11)]), None, [])
    line = status_line(named, Thresholds(warn=1))
    assert line.isprintable() and line.count("|") == 1


def test_metrics() -> None:
    lines = format_metrics(incident(), 0.25).splitlines()
    assert 'pyinit_zombies{cause="not-waiting"} 300' in lines
    assert [line for line in lines if line.startswith('pyinit_zombies{cause="traced"}')] == [
        'pyinit_zombies{cause="traced"} 0']
    labels = 'parent_pid="10",parent="app",cause="not-waiting",runtime="",container="",pod=""'
    assert f"pyinit_zombie_group_zombies{{{labels}}} 300" in lines
    assert 'pyinit_pid_budget_exhausted_seconds{budget="cgroup",scope="/kubepods"} 300.0' in lines
    assert "pyinit_zombie_report_duration_seconds 0.25" in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names)) == 11
    # A budget that does not grow is never used up; an unknown figure is left out.
    calm = format_metrics(make_report(snapshot([INIT], pids=5, pid_max=10), None, []), 0)
    assert 'pyinit_pid_budget_exhausted_seconds{budget="pid_max",scope=""} +Inf' in calm
    young = format_metrics(make_report(snapshot([INIT, *zombies(1, 2)], clock=1, pids=5, pid_max=10), None, []), 0)
    assert "exhausted" not in young


def test_groups_that_are_left_out_are_counted() -> None:
    parents = [process(pid, 1) for pid in range(1000, 1060)]
    many = snapshot([INIT, *parents, *(child for each in parents for child in zombies(each.pid, each.pid + 5000))])
    report = make_report(many, None, [], most=7)
    assert [group.parent_pid for group in report.groups] == list(range(1000, 1007))
    text = format_metrics(report, 0)
    assert text.count("\npyinit_zombie_group_zombies{") == 7
    assert 'pyinit_zombies{cause="not-waiting"} 60' in text
    commands = dict.fromkeys(many.processes, "sh")
    assert "\n53 more groups, with 53 zombies: --top shows more.\n" in format_report(report, commands)
    assert as_dictionary(report, commands)["groups_left_out"] == 53


def test_json() -> None:
    told = as_dictionary(incident(), COMMANDS)
    assert told == json.loads(format_json(incident(), COMMANDS))
    assert (told["schema"], told["zombies"], told["growth_per_minute"], told["interval_seconds"]) == (1, 300, 18, None)
    group, = told["groups"]
    assert (group["cause"], group["parent"]["name"], len(group["pids"])) == ("not-waiting", "app", 10)
    assert [budget["budget"] for budget in told["budgets"] if budget["tightest"]] == ["cgroup"]
    calm = as_dictionary(make_report(snapshot([INIT], pids=5, pid_max=10), None, []), COMMANDS)
    assert (calm["budgets"][0]["growth_per_minute"], calm["budgets"][0]["seconds_left"]) == (0, None)


def test_table() -> None:
    text = format_report(incident(), COMMANDS)
    assert "300  +18/min  16m40s      10  /bin/app --serve" in text
    assert "*  pids.max" in text
    assert text.endswith("At +18.0 zombies a minute (by when they were started; --watch measures it) pids.max of "
                         "/kubepods is used up in 5m.\n")
    assert "\x1b" not in text and "\x1b[31m" in format_report(incident(), COMMANDS, colour=True)


@pytest.mark.parametrize("count, words", [
    (298, "At +120.0 zombies a minute (measured over 1.0s) pids.max of /kubepods is used up in "),
    (299, "At +18.0 zombies a minute (by when they were started; one more than before is too few to measure) pids."),
    (300, "Zombies do not grow (measured over 1.0s).\n"),
])
def test_forecast_says_how_growth_is_known(count: int, words: str) -> None:
    before = snapshot([INIT, APP, *zombies(10, *range(100, 100 + count))], clock=999)
    now = snapshot([INIT, APP, *zombies(10, *range(100, 400))])
    report = make_report(now, before, [Limit("/kubepods", 310, 400, frozenset({"/"}))])
    assert f"\n{words}" in format_report(report, COMMANDS)


def test_forecast_from_one_zombie() -> None:
    now = snapshot([INIT, APP, *zombies(10, 11)], pids=5, pid_max=10)
    for before, words in ((None, "growth: --watch measures it.\n"), (snapshot([INIT, APP], clock=999), "growth.\n")):
        assert f"\nOne zombie says nothing of {words}" in format_report(make_report(now, before, []), COMMANDS)


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_table_keeps_to_the_width(width: int) -> None:
    for line in format_report(incident(), COMMANDS, width, tree=True).splitlines():
        assert len(line) <= width


@pytest.mark.parametrize("processes, unreadable, words", [
    ([INIT, APP], 3, "3 processes could not be read"),
    ([APP], 0, "Processes could not be read"),  # hidepid=2: not even PID 1 can be seen
])
def test_hidden_processes_are_told(processes: list[Process], unreadable: int, words: str) -> None:
    report = make_report(snapshot(processes, unreadable=unreadable), None, [])
    assert words in format_report(report, {})
    assert as_dictionary(report, {})["partial"] and judge(report, Thresholds(warn=1)) == UNKNOWN
    seen = make_report(snapshot([INIT, APP]), None, [])
    assert "could not be read" not in format_report(seen, {}) and not as_dictionary(seen, {})["partial"]


ESCAPES = "\x1b]0;owned\x07.service"


def escaping_report() -> Report:
    """Return a report on processes and cgroups whose names have escape sequences of terminals in them."""
    now = snapshot([INIT, APP._replace(name="a\x1b[2J"), *zombies(10, 11)], pids=5, pid_max=10)
    now.actors[10] = now.actors[10]._replace(cgroups=(("", f"/{ESCAPES}"),))
    now.zombies[0] = now.zombies[0]._replace(cgroups=(("", f"/its-{ESCAPES}"),))
    return make_report(now, None, [Limit(f"/its-{ESCAPES}", 5, 10, frozenset({f"/its-{ESCAPES}"}))])


def test_names_have_no_escape_sequences_in_the_table() -> None:
    text = format_report(escaping_report(), {1: "init", 10: "app\x1b[2J"}, tree=True)
    assert all(line.isprintable() for line in text.split("\n"))
    assert "  systemd \\x1b]0;owned\\x07.service\n" in text and ", from systemd its-\\x1b]0;owned" in text


@pytest.mark.parametrize("is_terminal", [False, True], ids=["file", "terminal"])
def test_names_have_no_escape_sequences_in_metrics_on_a_terminal(monkeypatch, is_terminal: bool) -> None:
    """A collector gets the names as they are, because the format allows it."""
    stdout = io.StringIO()
    monkeypatch.setattr(stdout, "isatty", lambda: is_terminal, raising=False)
    monkeypatch.setattr(sys, "stdout", stdout)
    text = render(escaping_report(), 0, parse_arguments(["--prometheus"]))
    assert all(line.isprintable() for line in text.split("\n")) == is_terminal
    name = "a\\x1b[2J" if is_terminal else "a\x1b[2J"
    assert f'parent="{name}"' in text


def test_headline() -> None:
    assert headline(make_report(snapshot([INIT]), None, [])) == "no zombies among 1 process"
    watched = headline(make_report(snapshot([INIT, APP, *zombies(10, 11)]), snapshot([INIT], clock=990), []))
    assert re.fullmatch(r"\d\d:\d\d:\d\d  1 zombie among 3 processes", watched)


def test_printable() -> None:
    assert printable("a\nb\x1b[31m é\u202e") == "a\\nb\\x1b[31m é\\u202e"


def test_ticks() -> None:
    told = Snapshot(0, 0, 100.0)
    assert told.seconds_since(40 * TICKS_PER_SECOND) == 60
    assert told.seconds_since(400 * TICKS_PER_SECOND) == 0


def test_arguments() -> None:
    told = parse_arguments(["--warn", "5", "--critical-time", "6h", "--watch", "1m", "--samples", "3", "--json"])
    assert (told.warn, told.critical_time, told.watch, told.samples, told.json) == (5, 21600, 60, 3, True)
