"""The zombie report correctly reads lines of /proc, paths of cgroups, and limits up the tree; as tables."""

from __future__ import annotations

import os
import tracemalloc
from pathlib import Path
from typing import Optional

import pytest

from pyinit.zombies.collect.cgroupfs import Limit, read_limits
from pyinit.zombies.collect.containers import Container, find_container, parse_cgroups, parse_path, pids_path
from pyinit.zombies.collect.snapshot import (COMMAND_SIZE, Process, Status, parse_command, parse_number,
                                             parse_process_limit, parse_stat, parse_status, parse_tasks,
                                             parse_zombie_status, read_command, usable_pids)
from support.snapshots import APP, ID, UID, UID_


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
    (b"Name:\tx\nTracerPid:\t7", Status(tracer=7)),  # truncated
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
    # 100 free PIDs, and the ones below RESERVED_PIDS that are in use.
    assert usable_pids(400, [1, 2, 299, 300, 350]) == 103


def test_command_line_that_its_process_has_made_huge(tmp_path: Path) -> None:
    """Only as much of it is read as a report shows."""
    path = tmp_path / str(APP.pid) / "cmdline"
    path.parent.mkdir()
    path.write_bytes(b"a" * 2 * COMMAND_SIZE)
    os.truncate(path, 1 << 24)
    tracemalloc.start()
    try:
        assert read_command(str(tmp_path), APP) == "a" * COMMAND_SIZE
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    path.unlink()
    assert read_command(str(tmp_path), APP) == "[app]"


# Names of cgroups by Kubernetes, containerd, CRI-O, Docker, podman, LXC and systemd, with both cgroup drivers.
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
    # Another container's cgroup, seen from a container, whose own cgroup is the root.
    (f"/../../kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope", Container("containerd", ID, UID)),
    (f"/../{ID}", Container("unknown", ID)),
    # On a node that is itself a container, the innermost one counts.
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


@pytest.mark.parametrize("space", "\v\f\r\x1c\x1d\x1e\x85\u2028\u2029", ids=ascii)
def test_cgroup_whose_name_looks_like_a_line(space: str) -> None:
    path = f"/user.slice/a{space}1:pids:/docker/{ID}"
    assert parse_cgroups(f"0::{path}\n".encode()) == (("", path),)


def cgroup(base: Path, path: str, limit: str, used: int) -> None:
    """Make a folder as in the cgroup file system."""
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
    for path in ("/../a", "/..", "/../c"):  # two folders match, any number, and none
        assert read_limits(str(tmp_path), [(path, False)]) == ([], frozenset({path}))


def test_limits_where_the_own_cgroup_is_mounted_as_the_root(tmp_path: Path) -> None:
    cgroup(tmp_path, ".", "10", 4)
    assert read_limits(str(tmp_path), [("/docker/0123", False)]) == (
        [Limit("/", 4, 10, frozenset({"/docker/0123"}))], frozenset())


@pytest.mark.parametrize("file, content", [("pids.max", "many"), ("pids.current", ""), ("pids.current", None),
                                           ("pids.max", None), ("cgroup.procs", None)], ids=str)
def test_limits_that_cannot_be_read(tmp_path: Path, file: str, content: Optional[str]) -> None:
    """A folder instead of a file cannot be read even by root. Without cgroup.procs it is no cgroup file system."""
    cgroup(tmp_path, "app", "10", 4)
    path = tmp_path / ("" if file == "cgroup.procs" else "app") / file
    path.unlink()
    if content is not None:
        path.write_text(content)
    elif file != "cgroup.procs":
        path.mkdir()
    assert read_limits(str(tmp_path), [("/app", False)]) == ([], frozenset({"/app"}))
