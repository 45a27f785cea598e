"""The zombie report without a process: parsing, verdicts, forecasts and forms; recorded /proc trees replayed.

The trees were recorded on Linux 6.18 by record_proc.py. Command lines and cgroups are filled in: those of the kubelet,
the engines and cgroup v2 as their makers document them.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Optional

import pytest

from pyinit.zombies.cli import parse_arguments
from pyinit.zombies.render.as_json import as_dictionary, format_json
from pyinit.zombies.analyse.budgets import Budget, find_tightest
from pyinit.zombies.collect.cgroupfs import Limit, read_limits
from pyinit.zombies.render.check import CRITICAL, OK, UNKNOWN, WARNING, Thresholds, judge, status_line
from pyinit.zombies.collect.containers import Container, find_container, parse_cgroups, parse_path, pids_path
from pyinit.zombies.render.exposition import format_metrics
from pyinit.zombies.analyse.growth import Tally, growth_per_minute, seconds_left, tally_ages
from pyinit.zombies.analyse.report import CAUSES, Report, make_report
from pyinit.zombies.collect.snapshot import (TICKS_PER_SECOND, Actor, Process, Snapshot, Status, Zombie, parse_command,
                                     parse_number, parse_process_limit, parse_stat, parse_status, parse_tasks,
                                     parse_zombie_status, read_command, take_snapshot, usable_pids)
from pyinit.zombies.render.table import format_report, headline
from pyinit.zombies.analyse.verdicts import VERDICTS, explain, name_container
from pyinit.zombies.render.words import format_duration, parse_duration, printable

from support import PYTHON, run

RECORDED = Path(__file__).parent / "recorded"
ID = "0123456789abcdef" * 4
UID = "8f2c1f0e-55aa-4b7e-9d0b-0c4b5a0f3d21"
UID_ = UID.replace("-", "_")


@pytest.fixture
def recorded(tmp_path: Path):
    """Writes a recorded tree as files, and returns the folder."""
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
    # Every form takes it, and no line is broken by a name.
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


@pytest.mark.parametrize("line, expected", [
    (b"7 (sh) Z 1 7 7 0 -1 4227148 61 0 0 0 0 0 0 0 20 0 1 0 1166494 0 0 184",
     Process(7, 1, "sh", "Z", 4227148, 1, 1166494)),
    (b"8 (a) R 9 (b\nc) S 3 7 7 0 -1 0 0 0 0 0 0 0 0 0 20 0 12 0 99 0",
     Process(8, 3, "a) R 9 (b\nc", "S", 0, 12, 99)),
    (b"9 (\xff) S 0 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 99 0", Process(9, 0, "\\xff", "S", 4, 1, 99)),
    (b"9 () S 0 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 1 0 99 0", Process(9, 0, "", "S", 4, 1, 99)),
])
def test_parse_stat(line: bytes, expected: Process) -> None:
    assert parse_stat(line) == expected


@pytest.mark.parametrize("line", [b"", b"7 (sh", b"7 (sh) Z 1", b"no number (sh) Z 1 7 7 0 -1 4227148 61 0 0"])
def test_parse_stat_of_no_line(line: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_stat(line)


@pytest.mark.parametrize("text, expected", [
    (b"Name:\tx\nTracerPid:\t0\nNSpid:\t77\t1\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\nCapEff:\t0\n", Status(is_init=True)),
    (b"Name:\tx\nTracerPid:\t12\nNSpid:\t77\t11\nSigBlk:\t0\nSigIgn:\t10000\nCapEff:\t0\n",
     Status(tracer=12, sigchld="ignored")),
    (b"Name:\tx\nSigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0000000000010002\n", Status(sigchld="caught")),
    (b"Name:\tx\nSigBlk:\t0000000000010000\nSigCgt:\t0000000000010002\n", Status(sigchld="blocked")),
    (b"Name:\tx\nCapEff:\t0000000001000000\n", Status(above_limits=True)),
    (b"Name:\tx\nCapEff:\t0000000000200000\n", Status(above_limits=True)),
    (b"Name:\tx\\nNSpid:\\t1\nNSpid:\t5\n", Status()),
    (b"Name:\tx\nUid:\t1000\t0\t0\t0\n", Status(uid=1000)),
    (b"Name:\tx\nGroups:\t" + b"1000000000 " * 7000 + b"\nNSpid:\t9\t1\nSigCgt:\t10000\n",
     Status(is_init=True, sigchld="caught")),
    (b"Name:\tx\nTracerPid:\t7", Status(tracer=7)),  # cut
    (b"Name:\tx\nPid:\t1\n", Status(is_init=True)),  # before Linux 4.1
    (b"", Status()),
])
def test_parse_status(text: bytes, expected: Status) -> None:
    assert parse_status(text) == expected
    assert parse_zombie_status(text) == Status(expected.uid, expected.tracer, expected.is_init)


def test_parse_the_rest() -> None:
    assert parse_command(b"/bin/sh\0-c\0a b\0", "sh") == "/bin/sh -c a b"
    assert parse_command(b"", "kthreadd") == "[kthreadd]"
    limits = (b"Limit                     Soft Limit           Hard Limit           Units     \n"
              b"Max processes             %-20s 96365                processes \n")
    assert parse_process_limit(limits % b"30") == 30
    assert parse_process_limit(limits % b"unlimited") is None
    assert parse_process_limit(b"") is None
    assert parse_tasks(b"0.20 0.18 0.12 1/823 11206\n") == 823
    assert parse_tasks(b"") is None
    assert (parse_number(b"12.50 7.25\n"), parse_number(b"")) == (12.5, 0)
    # 100 free numbers and those below RESERVED_PIDS that are taken.
    assert usable_pids(400, [1, 2, 299, 300, 350]) == 103


# As Kubernetes, containerd, CRI-O, Docker, podman, LXC and systemd name their cgroups, with both cgroup drivers.
PATHS = [
    ("/", Container()),
    ("/init.scope", Container("systemd", "init.scope")),
    ("/system.slice/rabbitmq-server.service", Container("systemd", "rabbitmq-server.service")),
    ("/user.slice/user-1000.slice/session-2.scope", Container("systemd", "session-2.scope")),
    (f"/system.slice/docker-{ID}.scope", Container("docker", ID)),
    (f"/docker/{ID}", Container("docker", ID)),
    (f"/docker/{ID}/init", Container("docker", ID)),
    (f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
     Container("containerd", ID, UID)),
    (f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope", Container("cri-o", ID, UID)),
    (f"/kubepods.slice/kubepods-pod{UID_}.slice/crio-{ID}.scope/container", Container("cri-o", ID, UID)),
    (f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/docker-{ID}.scope",
     Container("docker", ID, UID)),
    (f"/kubepods/burstable/pod{UID}/{ID}", Container("cri", ID, UID)),
    (f"/kubepods/pod{UID}", Container("cri", "", UID)),
    (f"/kubepods/besteffort/pod{ID[:32]}/{ID}", Container("cri", ID, ID[:32])),  # a static pod
    (f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UID_}.slice/cri-containerd-{ID}.scope",
     Container("containerd", ID, UID)),
    (f"/system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
     Container("containerd", ID, UID)),
    (f"/machine.slice/libpod-{ID}.scope", Container("podman", ID)),
    (f"/machine.slice/libpod-{ID}.scope/container", Container("podman", ID)),
    (f"/machine.slice/machine-libpod_pod_{ID}.slice/libpod-{'f' * 64}.scope", Container("podman", "f" * 64, ID)),
    (f"/libpod_parent/{ID}/libpod-{'f' * 64}", Container("podman", "f" * 64, ID)),
    (f"/libpod_parent/libpod-{ID}", Container("podman", ID)),
    (f"/machine.slice/libpod-conmon-{ID}.scope", Container("systemd", f"libpod-conmon-{ID}.scope")),
    (f"/default/{ID}", Container("containerd", ID)),
    ("/default/redis", Container("containerd", "redis")),
    ("/k8s.io/redis", Container("containerd", "redis")),
    (f"/system.slice/nerdctl-{ID}.scope", Container("containerd", ID)),
    ("/lxc/web1", Container("lxc", "web1")),
    ("/lxc.payload.web1/system.slice/nginx.service", Container("lxc", "web1")),
    ("/machine.slice/systemd-nspawn@web1.service/payload", Container("nspawn", "web1")),
    (f"/ecs/0123/{ID}", Container("unknown", ID)),
    # As a container sees another: the root is its own cgroup.
    (f"/../../kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope", Container("containerd", ID, UID)),
    (f"/../{ID}", Container("unknown", ID)),
    # A node that is a container itself: the innermost counts.
    (f"/docker/{ID}/kubepods.slice/kubepods-pod{UID_}.slice/cri-containerd-{'f' * 64}.scope",
     Container("containerd", "f" * 64, UID)),
]


@pytest.mark.parametrize("path, expected", PATHS)
def test_parse_path(path: str, expected: Container) -> None:
    assert parse_path(path) == expected


@pytest.mark.parametrize("text, container, path", [
    (b"0::/init.scope\n", Container("systemd", "init.scope"), ("/init.scope", False)),
    (f"0::/system.slice/docker-{ID}.scope (deleted)\n".encode(), Container("docker", ID),
     (f"/system.slice/docker-{ID}.scope", False)),
    (f"12:pids:/docker/{ID}\n11:cpu,cpuacct:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/x.service\n"
     .encode(), Container("docker", ID), (f"/docker/{ID}", True)),
    (b"5:memory,pids:/a\n0::/\n", Container(), ("/a", True)),
    (b"", Container(), ("/", False)),
])
def test_cgroups(text: bytes, container: Container, path: tuple[str, bool]) -> None:
    cgroups = parse_cgroups(text)
    assert (find_container(cgroups), pids_path(cgroups)) == (container, path)


def cgroup(base: Path, path: str, limit: str, used: int) -> None:
    """A folder of the cgroup file system."""
    (base / path).mkdir(parents=True, exist_ok=True)
    for folder in (base, base / path):
        (folder / "cgroup.procs").touch()
    (base / path / "pids.max").write_text(f"{limit}\n")
    (base / path / "pids.current").write_text(f"{used}\n")


def test_limits_up_the_tree(tmp_path: Path) -> None:
    (tmp_path / "kubepods").mkdir()
    cgroup(tmp_path, "kubepods/pod1", "100", 40)
    cgroup(tmp_path, "kubepods/pod1/a", "max", 30)
    cgroup(tmp_path, "kubepods/pod1/b", "20", 10)
    cgroup(tmp_path, "kubepods/pod2", "50", 1)
    cgroup(tmp_path / "pids", "old", "60", 6)
    paths = [("/kubepods/pod1/a", False), ("/kubepods/pod1/b", False), ("/old", True), ("/gone", False),
             ("/kubepods/pod2/removed/too", False)]
    assert read_limits(str(tmp_path), paths) == ([
        Limit("/kubepods/pod1", 40, 100, frozenset({"/kubepods/pod1/a", "/kubepods/pod1/b"})),
        Limit("/kubepods/pod1/b", 10, 20, frozenset({"/kubepods/pod1/b"})),
        Limit("/kubepods/pod2", 1, 50, frozenset({"/kubepods/pod2/removed/too"})),
        Limit("/old", 6, 60, frozenset({"/old"})),
    ], frozenset())


def test_limits_seen_from_a_cgroup_namespace(tmp_path: Path) -> None:
    cgroup(tmp_path, "kubepods/pod1/a", "10", 1)
    cgroup(tmp_path, "kubepods/pod2/a", "10", 2)
    cgroup(tmp_path, "kubepods/pod2/b", "10", 3)
    for path, used in (("/../../pod2/b", 3), ("/../../kubepods/pod2/a", 2)):
        limits, unread = read_limits(str(tmp_path), [(path, False)])
        assert ([limit.used for limit in limits], unread) == ([used], frozenset())
    for path in ("/../a", "/..", "/../c"):  # there are two of them, any number, and none
        assert read_limits(str(tmp_path), [(path, False)]) == ([], frozenset({path}))


def test_limits_where_the_own_cgroup_is_mounted_as_the_root(tmp_path: Path) -> None:
    cgroup(tmp_path, ".", "10", 4)
    assert read_limits(str(tmp_path), [("/docker/0123", False)]) == (
        [Limit("/", 4, 10, frozenset({"/docker/0123"}))], frozenset())


@pytest.mark.parametrize("file, content", [("pids.max", "many"), ("pids.current", ""), ("pids.current", None),
                                           ("pids.max", None), ("cgroup.procs", None)], ids=str)
def test_limits_that_cannot_be_read(tmp_path: Path, file: str, content: Optional[str]) -> None:
    """A folder in the place of a file cannot be read, whoever reads; no cgroup.procs: no cgroup file system."""
    cgroup(tmp_path, "app", "10", 4)
    path = tmp_path / ("" if file == "cgroup.procs" else "app") / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    elif file != "cgroup.procs":
        path.mkdir()
    assert read_limits(str(tmp_path), [("/app", False)]) == ([], frozenset({"/app"}))


@pytest.mark.parametrize("now, before, seconds, expected", [
    (30, 20, 60, 10), (30, 36, 60, -6), (30, 0, 10, 180), (0, 0, 60, 0), (5, 5, 0, None),
    (1, 0, 10, None),  # it may be about to be reaped
    (30, 29, 10, 2),   # the ages are asked: 30 in 900 s
])
def test_growth_between_samples(now: int, before: int, seconds: float, expected: Optional[float]) -> None:
    assert growth_per_minute(Tally(now, 900), Tally(before, 840), seconds) == expected


@pytest.mark.parametrize("ages, expected", [
    ([], 0),
    ([86400], None),                             # one says nothing
    ([10 * each for each in range(1, 301)], 6),  # the incident's: one each ten seconds
    ([2] * 90, 90),
    ([0.5] * 500 + [30 * 86400], 500),           # an old one does not hide the others
    ([1201 + each for each in range(600)], 20),  # it has stopped: the mean of half an hour
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


def process(pid: int, parent: int, name: str = "sh", state: str = "S", **more) -> Process:
    """A process that was started with the machine."""
    return Process(**{"pid": pid, "parent": parent, "name": name, "state": state, "flags": 0, "threads": 1, "start": 0,
                      **more})


def snapshot(processes: list[Process], clock: float = 1000, status: Optional[dict[int, Status]] = None,
             threads: Optional[dict[int, tuple[Process, ...]]] = None, **more) -> Snapshot:
    """A snapshot of these, as take_snapshot() makes it."""
    told = Snapshot(clock, 1.8e9 + clock, clock, {each.pid: each for each in processes}, **more)
    status, threads = status or {}, threads or {}
    told.zombies = [Zombie(each, status.get(each.pid, Status()), (), threads.get(each.pid, ()))
                    for each in processes if each.is_zombie]
    told.actors = {each.pid: Actor(each, status.get(each.pid, Status()), ())
                   for each in processes if not each.is_zombie}
    return told


INIT, APP = process(1, 0, "init"), process(10, 1, "app")
PAUSE = process(20, 1, "pause")


def zombies(parent: int, *pids: int, **more) -> list[Process]:
    return [process(pid, parent, state="Z", **more) for pid in pids]


COMMANDS = {1: "/sbin/init", 10: "/bin/app --serve"}


def causes(now: Snapshot, before: Optional[Snapshot] = None) -> dict[int, str]:
    """The cause of each parent's zombies."""
    return {group.parent_pid: group.cause for group in make_report(now, before, []).groups}


@pytest.mark.parametrize("processes, status, expected", [
    ([INIT, APP, *zombies(10, 11)], {}, {10: "not-waiting"}),
    ([INIT, *zombies(1, 11)], {1: Status(is_init=True)}, {1: "init-not-reaping"}),
    ([INIT, PAUSE, *zombies(20, 21)], {20: Status(is_init=True)}, {20: "init-not-reaping"}),
    ([INIT, APP._replace(state="T"), *zombies(10, 11)], {}, {10: "parent-stopped"}),
    ([INIT, APP._replace(state="t"), *zombies(10, 11)], {}, {10: "parent-stopped"}),
    ([INIT, APP, *zombies(10, 11)], {11: Status(tracer=99)}, {10: "traced"}),
    ([INIT, APP, *zombies(10, 11, threads=3)], {}, {10: "threads-alive"}),
    # PID 1 of a namespace exits: whatever is below it is in the teardown.
    ([INIT, PAUSE._replace(flags=4), *zombies(20, 21)], {20: Status(is_init=True)}, {20: "teardown"}),
    ([INIT, PAUSE._replace(flags=4), process(22, 20, state="D"), *zombies(22, 23)], {20: Status(is_init=True)},
     {22: "teardown"}),
    # Any other process that exits is no such thing.
    ([INIT, APP._replace(flags=4), *zombies(10, 11)], {}, {10: "not-waiting"}),
    # Its parent is not to be seen, or outside.
    ([INIT, *zombies(77, 11)], {}, {77: "not-waiting"}),
    ([INIT, *zombies(0, 11)], {}, {0: "not-waiting"}),
    # A loop of parents cannot be, but may be read while PIDs are used again.
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
    (Status(), (), "threads-alive", "other threads go on"),  # not to be seen
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
    assert words in explain(group)


@pytest.mark.parametrize("container, text", [
    (Container(), ""),
    (Container("docker", ID), "docker 0123456789ab"),
    (Container("containerd", ID, UID), "containerd 0123456789ab pod 8f2c1f0e-55a"),
    (Container("systemd", "a-service-of-a-long-name.service"), "systemd a-service-of-a-long-name.service"),
])
def test_name_of_a_container(container: Container, text: str) -> None:
    """IDs are cut, as people compare their beginnings; names of services are not."""
    assert name_container(container) == text


def test_every_cause_has_a_verdict() -> None:
    assert VERDICTS.keys() == set(CAUSES)


def test_reaped_slowly_are_those_whose_siblings_have_gone() -> None:
    before = snapshot([INIT, APP, *zombies(10, 11, 12)], clock=990)
    assert causes(snapshot([INIT, APP, *zombies(10, 13)]), before) == {10: "reaped-slowly"}
    # The same PID once more, another process.
    assert causes(snapshot([INIT, APP, *zombies(10, 11, start=5)]), before) == {10: "reaped-slowly"}
    assert causes(snapshot([INIT, APP, *zombies(10, 12, 13)]), before) == {10: "not-waiting"}
    # More than before: whatever became of that one, it does not keep up.
    assert causes(snapshot([INIT, APP, *zombies(10, 13, 14, 15)]), before) == {10: "not-waiting"}
    # What is not the parent's to wait for is not.
    traced = snapshot([INIT, APP, *zombies(10, 13)], status={13: Status(tracer=1)})
    assert causes(traced, before) == {10: "traced"}
    # A leak that has just begun: none has gone.
    assert causes(snapshot([INIT, APP, *zombies(10, 13)]), snapshot([INIT, APP], clock=990)) == {10: "not-waiting"}


def test_growth_of_a_group() -> None:
    before = snapshot([INIT, APP, PAUSE, *zombies(10, 11), *zombies(20, 21)], clock=970)
    now = snapshot([INIT, APP, PAUSE, *zombies(10, 11, 12, 13), *zombies(20, 21)])
    report = make_report(now, before, [])
    assert [(group.parent_pid, group.growth) for group in report.groups] == [(10, 4.0), (20, 0.0)]
    assert (report.growth, report.interval) == (4.0, 30.0)
    # Another cause is no growth.
    stopped = snapshot([INIT, APP._replace(state="T"), PAUSE, *zombies(10, 11), *zombies(20, 21)])
    assert [group.growth for group in make_report(stopped, before, []).groups] == [0.0, 0.0]


def test_chain_is_cut_in_its_middle() -> None:
    deep = [INIT, *(process(pid, pid - 1) for pid in range(2, 5000)), *zombies(4999, 6000)]
    group, = make_report(snapshot(deep), None, []).groups
    assert [each.pid for each in group.chain] == [*range(4999, 4979, -1), 5, 4, 3, 2, 1]
    family = make_report(snapshot(deep[:10] + zombies(10, 11)), None, []).groups[0].chain
    assert [each.pid for each in family] == list(range(10, 0, -1))


def test_cgroups_of_a_zombie() -> None:
    """cgroup v1 names the root for it; v2 its own, cgroups(7)."""
    now = snapshot([INIT, APP, *zombies(10, 11, 12)])
    now.actors[10] = now.actors[10]._replace(cgroups=(("pids", "/app"), ("", "/v2/app")))
    for mine, expected in [((("pids", "/"), ("cpu", "/"), ("", "/v2/it")), (("", "/v2/it"), ("pids", "/app"))),
                           ((("pids", "/it"), ("", "/")), (("pids", "/it"), ("", "/"))),
                           ((("", "/it"),), (("", "/it"),)), ((), ())]:
        assert now.cgroups_of(now.zombies[0]._replace(cgroups=mine)) == expected


INCIDENT = [INIT, APP, *zombies(10, *range(100, 400))]


def incident(**more) -> Report:
    """300 zombies in 1,000 s, 18 a minute."""
    used = {"tasks": 30_000, "pids": 30_000, "pid_max": 32_768, "threads_max": 100_000}
    return make_report(snapshot(INCIDENT, **{**used, **more}), None, [Limit("/kubepods", 310, 400, frozenset({"/"}))])


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
    # It is each parent's own: the lowest is used up first.
    other = process(30, 1)
    lower = snapshot([INIT, APP, other, *zombies(10, 11), *zombies(30, 31)], users={1000: 7},
                     status={11: Status(uid=1000), 31: Status(uid=1000)})
    for pid, most in ((10, 50), (30, 20)):
        lower.actors[pid] = lower.actors[pid]._replace(status=Status(uid=1000), process_limit=most)
    assert [budget[:4] for budget in make_report(lower, None, []).budgets] == [("nproc", "uid 1000", 7, 20)]
    # It does not bind who may exceed it.
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
    """No time is known then, so that no threshold of a time is kept; a threshold of zombies needs none."""
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
    """A folder in the place of its status; the zombies are counted all the same."""
    folder = Path(recorded("incident"))
    assert "nproc" not in make_report(take_snapshot(str(folder)), None, []).unread
    (folder / "4/status").unlink()
    (folder / "4/status").mkdir()
    report = make_report(take_snapshot(str(folder)), None, [])
    assert (report.total, "nproc" in report.unread) == (5, True)


def test_what_is_known_is_judged() -> None:
    """A threshold that is reached stays reached, whatever else could not be read."""
    report = incident(threads_max=None)
    assert report.unread == ("threads_max",)
    assert judge(report, Thresholds(warn_time=301)) == judge(report, Thresholds(warn=1, critical_time=1)) == WARNING
    assert judge(report, Thresholds(warn=1, critical_time=301)) == judge(report, Thresholds(critical=300)) == CRITICAL
    assert judge(report, Thresholds(warn_time=299)) == UNKNOWN


def test_one_zombie_is_no_growth() -> None:
    report = make_report(snapshot([INIT, APP, *zombies(10, 11)], pids=5, pid_max=10, tasks=5, threads_max=10), None, [])
    assert report.tightest.seconds_left is None and [judge(report, each) for each in ALL_TIMES] == [OK] * 3


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
    # What does not grow is never used up; what is not known is not told.
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


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_table_keeps_to_the_width(width: int) -> None:
    for line in format_report(incident(), COMMANDS, width, tree=True).splitlines():
        assert len(line) <= width


@pytest.mark.parametrize("processes, unreadable, words", [
    ([INIT, APP], 3, "3 processes could not be read"),
    ([APP], 0, "Processes could not be read"),  # hidepid=2: not even PID 1 is to be seen
])
def test_hidden_processes_are_told(processes: list[Process], unreadable: int, words: str) -> None:
    report = make_report(snapshot(processes, unreadable=unreadable), None, [])
    assert words in format_report(report, {})
    assert as_dictionary(report, {})["partial"] and judge(report, Thresholds(warn=1)) == UNKNOWN
    seen = make_report(snapshot([INIT, APP]), None, [])
    assert "could not be read" not in format_report(seen, {}) and not as_dictionary(seen, {})["partial"]


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
