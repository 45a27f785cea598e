"""The zombie report finds the right cause for each zombie of a snapshot, and the right words for it."""

from __future__ import annotations

import pytest

from pyinit.zombies.analyse.report import CAUSES, make_report
from pyinit.zombies.analyse.verdicts import VERDICTS, explain, name_container
from pyinit.zombies.collect.cgroupfs import Limit
from pyinit.zombies.collect.containers import Container
from pyinit.zombies.collect.snapshot import Process, Status
from support.snapshots import APP, ID, INIT, PAUSE, UID, causes, process, snapshot, zombies


@pytest.mark.parametrize("processes, status, expected", [
    ([INIT, APP, *zombies(10, 11)], {}, {10: "not-waiting"}),
    ([INIT, *zombies(1, 11)], {1: Status(is_init=True)}, {1: "init-not-reaping"}),
    ([INIT, PAUSE, *zombies(20, 21)], {20: Status(is_init=True)}, {20: "init-not-reaping"}),
    ([INIT, APP._replace(state="T"), *zombies(10, 11)], {}, {10: "parent-stopped"}),
    ([INIT, APP._replace(state="t"), *zombies(10, 11)], {}, {10: "parent-stopped"}),
    ([INIT, APP, *zombies(10, 11)], {11: Status(tracer=99)}, {10: "traced"}),
    ([INIT, APP, *zombies(10, 11, threads=3)], {}, {10: "threads-alive"}),
    # PID 1 of a namespace exits: all processes below it are in the teardown.
    ([INIT, PAUSE._replace(flags=4), *zombies(20, 21)], {20: Status(is_init=True)}, {20: "teardown"}),
    ([INIT, PAUSE._replace(flags=4), process(22, 20, state="D"), *zombies(22, 23)], {20: Status(is_init=True)},
     {22: "teardown"}),
    # The exit of any other process is no teardown.
    ([INIT, APP._replace(flags=4), *zombies(10, 11)], {}, {10: "not-waiting"}),
    # The parent cannot be seen, or is outside of the namespace.
    ([INIT, *zombies(77, 11)], {}, {77: "not-waiting"}),
    ([INIT, *zombies(0, 11)], {}, {0: "not-waiting"}),
    # Parents cannot form a loop, but a snapshot may show one while PIDs are reused.
    ([process(10, 12), process(12, 10), *zombies(10, 11)], {}, {10: "not-waiting"}),
])
def test_cause(processes: list[Process], status: dict[int, Status], expected: dict[int, str]) -> None:
    now = snapshot(processes, status=status)
    assert causes(now) == expected
    for group in make_report(now, None, []).groups:
        assert "\n" not in explain(group) and explain(group)[0].isalpha()


LIVE, ENDED, STUCK = (process(90, 1, state=state) for state in "SZD")


@pytest.mark.parametrize("status, threads, cause, words", [
    (Status(), (LIVE, ENDED), "threads-alive", "other threads go on"),
    (Status(), (), "threads-alive", "other threads go on"),  # the threads cannot be seen
    (Status(), (LIVE, STUCK), "threads-alive", "sh (90) is in an uninterruptible sleep (D)"),
    (Status(tracer=10), (ENDED, ENDED), "traced", "traced by their parent, app (10), which does not wait"),
    (Status(tracer=1), (ENDED,), "traced", "traced by init (1), which has to wait for them before"),
    (Status(is_init=True), (LIVE._replace(flags=4),), "teardown", "put there from outside"),
    (Status(is_init=True), (LIVE,), "threads-alive", "other threads go on"),
])
def test_cause_of_leaders(status: Status, threads: tuple[Process, ...], cause: str, words: str) -> None:
    leader = zombies(10, 11, threads=len(threads) + 1 if threads else 2)
    now = snapshot([INIT, APP, *leader], status={11: status}, threads={11: threads})
    group, = make_report(now, None, []).groups
    assert group.cause == cause and words in explain(group)


def test_teardown_names_who_keeps_it() -> None:
    dying = PAUSE._replace(flags=4)
    family = [INIT, dying, process(22, 20), process(24, 22, name="dd", state="D"), *zombies(20, 21)]
    group, = make_report(snapshot(family, status={20: Status(is_init=True)}), None, []).groups
    assert [each.pid for each in group.responsible] == [24] and "dd (24) in an unint" in explain(group)
    family.remove(process(24, 22, name="dd", state="D"))
    group, = make_report(snapshot(family, status={20: Status(is_init=True)}), None, []).groups
    assert [each.pid for each in group.responsible] == [22]


@pytest.mark.parametrize("state, sigchld, words", [
    ("S", "default", "it has no handler for SIGCHLD"),
    ("S", "caught", "it catches SIGCHLD, but does not wait for all"),
    ("S", "ignored", "it ignores SIGCHLD only since they ended"),
    ("S", "blocked", "it blocks SIGCHLD"),
    ("D", "caught", "it is in an uninterruptible sleep (D)"),
])
def test_verdict_says_why_the_parent_does_not_wait(state: str, sigchld: str, words: str) -> None:
    now = snapshot([INIT, APP._replace(state=state), *zombies(10, 11)], status={10: Status(sigchld=sigchld)})
    group, = make_report(now, None, []).groups
    assert f"app (10) is alive and does not wait for them; {words}" in explain(group)


@pytest.mark.parametrize("parent, words", [
    (INIT, "init (1) is PID 1 and does not reap them"),
    (PAUSE, "pause (20) is PID 1 of its PID namespace and does not reap them"),
])
def test_verdict_says_whose_init_does_not_reap(parent: Process, words: str) -> None:
    family = [INIT, PAUSE, *zombies(parent.pid, 21)]
    now = snapshot(family, status={1: Status(is_init=True), 20: Status(is_init=True)})
    group, = make_report(now, None, []).groups
    assert words in explain(group) and "a RuntimeClass that puts an init into it" in explain(group)


@pytest.mark.parametrize("container, text", [
    (Container(), ""),
    (Container("docker", ID), "docker 0123456789ab"),
    (Container("containerd", ID, UID), "containerd 0123456789ab pod 8f2c1f0e-55a"),
    (Container("systemd", "a-service-of-a-long-name.service"), "systemd a-service-of-a-long-name.service"),
])
def test_name_of_a_container(container: Container, text: str) -> None:
    """IDs are shortened, as people compare their beginnings; names of services are not."""
    assert name_container(container) == text


def test_every_cause_has_a_verdict() -> None:
    assert VERDICTS.keys() == set(CAUSES)


def test_reaped_slowly_are_those_whose_siblings_have_gone() -> None:
    before = snapshot([INIT, APP, *zombies(10, 11, 12)], clock=990)
    assert causes(snapshot([INIT, APP, *zombies(10, 13)]), before) == {10: "reaped-slowly"}
    # Another process with the same PID.
    assert causes(snapshot([INIT, APP, *zombies(10, 11, start=5)]), before) == {10: "reaped-slowly"}
    assert causes(snapshot([INIT, APP, *zombies(10, 12, 13)]), before) == {10: "not-waiting"}
    # More than before: the parent does not keep up, even if it has reaped one.
    assert causes(snapshot([INIT, APP, *zombies(10, 13, 14, 15)]), before) == {10: "not-waiting"}
    # Zombies that the parent cannot reap have their own cause.
    traced = snapshot([INIT, APP, *zombies(10, 13)], status={13: Status(tracer=1)})
    assert causes(traced, before) == {10: "traced"}
    # A leak that has just begun: no zombie has been reaped.
    assert causes(snapshot([INIT, APP, *zombies(10, 13)]), snapshot([INIT, APP], clock=990)) == {10: "not-waiting"}


def test_growth_of_a_group() -> None:
    before = snapshot([INIT, APP, PAUSE, *zombies(10, 11), *zombies(20, 21)], clock=970)
    now = snapshot([INIT, APP, PAUSE, *zombies(10, 11, 12, 13), *zombies(20, 21)])
    report = make_report(now, before, [])
    assert [(group.parent_pid, group.growth) for group in report.groups] == [(10, 4.0), (20, 0.0)]
    assert (report.growth, report.interval) == (4.0, 30.0)
    # A change of the cause is no growth.
    stopped = snapshot([INIT, APP._replace(state="T"), PAUSE, *zombies(10, 11), *zombies(20, 21)])
    assert [group.growth for group in make_report(stopped, before, []).groups] == [0.0, 0.0]


@pytest.mark.parametrize("reaped", [100, 0], ids=str)
def test_slow_reaper_hides_no_leak(reaped: int) -> None:
    """The zombies of a parent that reaps slowly, or has reaped all, are left out of both samples, in every scope."""
    leak = zombies(20, *range(5000, 5050))
    status = dict.fromkeys(range(1000, 6000), Status(uid=1000))
    before = snapshot([INIT, APP, PAUSE, *zombies(10, *range(1000, 1100))], clock=940, status=status)
    now = snapshot([INIT, APP, PAUSE, *zombies(10, *range(2000, 2000 + reaped)), *leak], status=status, users={1000: 7},
                   pids=500, pid_max=32_768)
    now.actors[10] = now.actors[10]._replace(status=Status(uid=1000), process_limit=900)
    now.actors[20] = now.actors[20]._replace(status=Status(uid=1000), process_limit=900)
    report = make_report(now, before, [Limit("/shared", 200, 1000, frozenset({"/"}))])
    assert report.growth == 50
    assert {budget.name: budget.growth for budget in report.budgets} == {"pid_max": 50, "cgroup": 50, "nproc": 50}
    assert [group.growth for group in report.groups if group.parent_pid == 20] == [50]
    assert [group.growth for group in report.groups if group.parent_pid == 10] == [0] * bool(reaped)


def test_chain_is_cut_in_its_middle() -> None:
    deep = [INIT, *(process(pid, pid - 1) for pid in range(2, 5000)), *zombies(4999, 6000)]
    group, = make_report(snapshot(deep), None, []).groups
    assert [each.pid for each in group.chain] == [*range(4999, 4979, -1), 5, 4, 3, 2, 1]
    family = make_report(snapshot(deep[:10] + zombies(10, 11)), None, []).groups[0].chain
    assert [each.pid for each in family] == list(range(10, 0, -1))


def test_cgroups_of_a_zombie() -> None:
    """For a zombie, cgroup v1 shows the root, and v2 its own cgroup, cgroups(7). For v1 the parent's is used."""
    now = snapshot([INIT, APP, *zombies(10, 11, 12)])
    now.actors[10] = now.actors[10]._replace(cgroups=(("pids", "/app"), ("", "/v2/app")))
    for mine, expected in [((("pids", "/"), ("cpu", "/"), ("", "/v2/it")), (("", "/v2/it"), ("pids", "/app"))),
                           ((("pids", "/it"), ("", "/")), (("pids", "/it"), ("", "/"))),
                           ((("", "/it"),), (("", "/it"),)), ((), ())]:
        assert now.cgroups_of(now.zombies[0]._replace(cgroups=mine)) == expected
