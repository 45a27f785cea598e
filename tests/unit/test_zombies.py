"""The zombie report is right about recorded /proc trees, growth, budgets and thresholds, without real processes.

record_proc.py recorded the trees on Linux 6.18. Command lines and cgroups were filled in, as the kubelet, the engines
and cgroup v2 document them.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Optional

import pytest

from pyinit.zombies.analyse.budgets import Budget, find_tightest
from pyinit.zombies.analyse.growth import Tally, growth_per_minute, seconds_left, tally_ages
from pyinit.zombies.analyse.report import make_report
from pyinit.zombies.analyse.verdicts import explain
from pyinit.zombies.collect.containers import Container
from pyinit.zombies.collect.snapshot import Status, read_command, take_snapshot
from pyinit.zombies.render.as_json import as_dictionary, format_json
from pyinit.zombies.render.check import CRITICAL, OK, UNKNOWN, WARNING, Thresholds, judge, status_line
from pyinit.zombies.render.exposition import format_metrics
from pyinit.zombies.render.table import format_report
from pyinit.zombies.render.words import format_duration, parse_duration
from support.processes import run
from support.settings import PYTHON
from support.snapshots import APP, COMMANDS, INIT, UID, incident, process, snapshot, zombies

RECORDED = Path(__file__).parent / "recorded"


@pytest.fixture
def recorded(tmp_path: Path):
    """Return a function that writes a recorded tree as files, and returns the folder."""
    def replay(name: str) -> str:
        for path, content in json.loads((RECORDED / f"{name}.json").read_text()).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(content.encode("latin-1"))
        return str(tmp_path)
    return replay


# name, cause, zombies, parent's PID and name, container of the parent and of the zombies, words of the verdict
RECORDINGS = [
    ("incident", "init-not-reaping", 5, 4, "pause", Container("containerd", "a" * 64, UID),
     Container("containerd", "b" * 64, UID), "pause (4) is PID 1 of its PID namespace and does not reap them"),
    ("odd-name", "not-waiting", 3, 16, "a) Z (b\nc", Container("systemd", "worker.service"),
     Container("systemd", "worker.service"), "a) Z (b\nc (16) is alive and does not wait"),
    ("traced", "traced", 1, 20, "python3.11", Container("systemd", "session-2.scope"),
     Container("systemd", "session-2.scope"), "traced by python3.11 (22)"),
    ("threads-alive", "threads-alive", 1, 2, "python", Container("docker", "d" * 64), Container("docker", "d" * 64),
     "java (23)"),
    ("teardown", "teardown", 1, 25, "unshare", Container(), Container(), "java (27) in an uninterruptible sleep (D)"),
]


@pytest.mark.parametrize("name, cause, count, pid, parent, container, origin, words", RECORDINGS)
def test_recorded_tree(recorded, name: str, cause: str, count: int, pid: int, parent: str, container: Container,
                       origin: Container, words: str) -> None:
    folder = recorded(name)
    report = make_report(take_snapshot(folder), None, [])
    group, = report.groups
    assert (group.cause, group.zombies.number) == (cause, count)
    assert (group.parent_pid, group.parent.process.name) == (pid, parent)
    assert (group.container, group.origin) == (container, origin)
    assert words in explain(group)
    assert group.chain[0].pid == pid and read_command(folder, group.chain[-1]) == "/sbin/init"
    # Every form can show it, and no name breaks a line.
    commands = {each.pid: read_command(folder, each) for each in group.chain}
    json.loads(format_json(report, commands))
    assert f'parent_pid="{pid}"' in format_metrics(report, 0)
    text = format_report(report, commands, tree=True)
    assert str(count) in text and all(line.isprintable() for line in text.split("\n"))


def test_incident_as_people_read_it(recorded) -> None:
    result = run([PYTHON, "-m", "pyinit.zombies", "--tree", "--proc", recorded("incident")])
    assert (result.code, result.err) == (0, b"")
    text = result.out.decode()
    assert text.splitlines()[0] == "5 zombies among 10 processes"
    assert "containerd aaaaaaaaaaaa pod 8f2c1f0e-55a" in text
    assert "(rabbitmqctl 5, from containerd bbbbbbbbbbbb pod 8f2c1f0e-55a)" in text
    assert ("      1 /sbin/init\n      \\_ 2 /usr/bin/sh\n         \\_ 3 /usr/bin/unshare\n            \\_ 4 /pause\n"
            "               \\_ 5 zombies: 7 9 11 13 15\n") in text


@pytest.mark.parametrize("now, before, seconds, expected", [
    (30, 20, 60, 10), (30, 36, 60, -6), (30, 0, 10, 180), (0, 0, 60, 0), (5, 5, 0, None),
    (1, 0, 10, None),  # it may be about to be reaped
    (30, 29, 10, 2),   # so the ages count: 30 in 900 s
])
def test_growth_between_samples(now: int, before: int, seconds: float, expected: Optional[float]) -> None:
    assert growth_per_minute(Tally(now, 900), Tally(before, 840), seconds) == expected


@pytest.mark.parametrize("ages, expected", [
    ([], 0),
    ([86400], None),                             # one zombie shows no growth
    ([10 * each for each in range(1, 301)], 6),  # the incident: one every ten seconds
    ([2] * 90, 90),
    ([0.5] * 500 + [30 * 86400], 500),           # an old one does not hide the others
    ([1201 + each for each in range(600)], 20),  # the growth has stopped: the mean of half an hour
    ([3601 + each for each in range(600)], 600 * 60 / 4200),
    ([7200, 14400], 2 / 240),
])
def test_growth_by_ages(ages: list[float], expected: Optional[float]) -> None:
    assert growth_per_minute(tally_ages(ages), None, 0) == expected


@pytest.mark.parametrize("used, limit, growth, expected", [
    (28_000, 32_768, 6, 47_680), (100, 200, 0, math.inf), (100, 200, -3, math.inf), (100, 200, None, None),
    (200, 200, None, 0), (201, 200, 0, 0),
])
def test_seconds_left(used: int, limit: int, growth: Optional[float], expected: Optional[float]) -> None:
    assert seconds_left(used, limit, growth) == expected


def test_tightest_budget() -> None:
    soon, late = Budget("cgroup", "/a", 10, 20, 1.0), Budget("pid_max", "", 10, 1000, 1.0)
    full, unknown = Budget("nproc", "uid 1", 90, 100, 0.0), Budget("nproc", "uid 2", 99, 100, None)
    assert find_tightest([late, soon, full, unknown]) is soon
    assert find_tightest([late._replace(growth=0.0), full]) is full
    assert find_tightest([full, unknown]) is unknown
    assert find_tightest([]) is None


@pytest.mark.parametrize("text, seconds", [("90", 90), ("90s", 90), ("30m", 1800), ("1.5h", 5400), ("1h30m", 5400),
                                           ("2d", 172800), ("1d1s", 86401), ("0", 0)])
def test_parse_duration(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "1x", "30m1h", "-1", "1e3", "inf", "nan", "1 h", "1h30", "²", "1_0", " 5",
                                  "5 ", "5\n", "\u0665", "\u0665h", "1h\u0665m"])
def test_parse_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@pytest.mark.parametrize("seconds, text", [
    (0, "0s"), (0.4, "0s"), (59, "59s"), (59.9, "1m"), (61, "1m1s"), (3600, "1h"), (3661, "1h1m"), (90000, "1d1h"),
    (86405, "1d"), (1e12, "over 1000 years"),
])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_budgets() -> None:
    report = incident()
    assert [(budget.name, budget.scope, budget.used, budget.limit) for budget in report.budgets] == [
        ("pid_max", "", 30_000, 32_768), ("threads_max", "", 30_000, 100_000), ("cgroup", "/kubepods", 310, 400)]
    assert {round(budget.growth, 6) for budget in report.budgets} == {18.0}
    assert find_tightest(report.budgets).seconds_left == pytest.approx(300)


def test_what_goes_by_itself_is_no_growth() -> None:
    leaders = zombies(10, *range(100, 400), threads=2)
    report = make_report(snapshot([INIT, APP, *leaders], pids=30_000, pid_max=32_768), None, [])
    assert (report.causes["threads-alive"], report.growth, report.budgets[0].seconds_left) == (300, 0, math.inf)
    before = snapshot([INIT, APP, *zombies(10, *range(500, 800))], clock=990)
    late = make_report(snapshot([INIT, APP, *zombies(10, *range(100, 400))], pids=30_000, pid_max=32_768), before, [])
    assert (late.causes["reaped-slowly"], late.budgets[0].seconds_left) == (300, math.inf)


def test_budget_of_a_user() -> None:
    now = snapshot([INIT, APP, *zombies(10, 11, 12)], status={11: Status(uid=1000), 12: Status(uid=1000)},
                   users={1000: 7})
    now.actors[10] = now.actors[10]._replace(status=Status(uid=1000), process_limit=50)
    assert [budget[:4] for budget in make_report(now, None, []).budgets] == [("nproc", "uid 1000", 7, 50)]
    now.actors[10] = now.actors[10]._replace(process_limit=0)
    report = make_report(now, None, [])
    assert (report.budgets[0].share, report.budgets[0].seconds_left) == (1, 0)
    assert "RLIMIT_NPROC of uid 1000 is used up: no process can be started there." in format_report(report, COMMANDS)
    # Each parent has its own limit: the lowest is used up first.
    other = process(30, 1)
    lower = snapshot([INIT, APP, other, *zombies(10, 11), *zombies(30, 31)], users={1000: 7},
                     status={11: Status(uid=1000), 31: Status(uid=1000)})
    for pid, most in ((10, 50), (30, 20)):
        lower.actors[pid] = lower.actors[pid]._replace(status=Status(uid=1000), process_limit=most)
    assert [budget[:4] for budget in make_report(lower, None, []).budgets] == [("nproc", "uid 1000", 7, 20)]
    # The limit does not apply to a process that may exceed it.
    now.actors[10] = now.actors[10]._replace(process_limit=None)
    assert make_report(now, None, []).budgets == ()


@pytest.mark.parametrize("thresholds, expected", [
    (Thresholds(), OK), (Thresholds(warn=301), OK), (Thresholds(warn=300), WARNING),
    (Thresholds(warn=300, critical=301), WARNING), (Thresholds(warn=1, critical=300), CRITICAL),
    (Thresholds(warn_time=299), OK), (Thresholds(warn_time=301), WARNING),
    (Thresholds(warn_time=600, critical_time=301), CRITICAL), (Thresholds(critical_time=301), CRITICAL),
])
def test_judge(thresholds: Thresholds, expected: int) -> None:
    assert judge(incident(), thresholds) == expected


def test_nothing_grows_nothing_is_judged() -> None:
    calm = make_report(snapshot([INIT, APP], pids=5, pid_max=10, tasks=5, threads_max=10), None, [])
    assert judge(calm, Thresholds(warn=1, critical=1, warn_time=1e9, critical_time=1e9)) == OK


ALL_TIMES = [Thresholds(warn_time=1), Thresholds(critical_time=1), Thresholds(warn_time=2, critical_time=1)]


@pytest.mark.parametrize("thresholds", ALL_TIMES, ids=str)
@pytest.mark.parametrize("missing, name", [
    ({"pids": None}, "pid_max"), ({"pid_max": None}, "pid_max"), ({"tasks": None}, "threads_max"),
    ({"threads_max": None}, "threads_max"), ({"actors_unread": 1}, "nproc"), ({"unread_cgroups": {"/a"}}, "cgroup"),
])
def test_figure_that_could_not_be_read(thresholds: Thresholds, missing: dict, name: str) -> None:
    """Without the figure no time is known, so thresholds of times are unknown. A threshold of zombies needs no time."""
    figures = {"pids": 5, "pid_max": 10, "tasks": 5, "threads_max": 10, **missing}
    cgroups = figures.pop("unread_cgroups", ())
    report = make_report(snapshot([INIT, APP], **figures), None, [], unread_cgroups=cgroups)
    assert judge(report, thresholds) == UNKNOWN
    assert status_line(report, thresholds).startswith(f"ZOMBIES UNKNOWN: 0 zombies, {name} could not be read | ")
    assert (judge(report, Thresholds(warn=1, critical=2)), judge(report, Thresholds())) == (OK, OK)
    assert "could not be read" not in status_line(report, Thresholds(warn=1))
    assert as_dictionary(report, {})["budgets_unread"] == [name]
    assert f'\npyinit_pid_budget_unread{{budget="{name}"}} 1\n' in format_metrics(report, 0)
    assert "Not all limits could be read (" in format_report(report, {})


def test_parent_that_cannot_be_read(recorded) -> None:
    """With a folder instead of the parent's status, its zombies are still counted."""
    folder = Path(recorded("incident"))
    assert "nproc" not in make_report(take_snapshot(str(folder)), None, []).unread
    (folder / "4/status").unlink()
    (folder / "4/status").mkdir()
    report = make_report(take_snapshot(str(folder)), None, [])
    assert (report.total, "nproc" in report.unread) == (5, True)


def test_what_is_known_is_judged() -> None:
    """A threshold that is reached stays reached if other figures cannot be read."""
    report = incident(threads_max=None)
    assert report.unread == ("threads_max",)
    assert judge(report, Thresholds(warn_time=301)) == judge(report, Thresholds(warn=1, critical_time=1)) == WARNING
    assert judge(report, Thresholds(warn=1, critical_time=301)) == judge(report, Thresholds(critical=300)) == CRITICAL
    assert judge(report, Thresholds(warn_time=299)) == UNKNOWN


def test_one_zombie_is_no_growth() -> None:
    report = make_report(snapshot([INIT, APP, *zombies(10, 11)], pids=5, pid_max=10, tasks=5, threads_max=10), None, [])
    assert report.tightest.seconds_left is None and [judge(report, each) for each in ALL_TIMES] == [OK] * 3
