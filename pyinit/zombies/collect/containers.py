"""Whose a process is: container, pod or systemd unit, from its cgroups, cgroups(7)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# (controllers, path) for each line of /proc/PID/cgroup; the controllers of cgroup v2 are "".
Cgroups = tuple[tuple[str, str], ...]

IDENTITY = r"[0-9a-f]{64}"

# One segment of a path that names a container, by the program that made it. Behind the ID systemd's driver puts
# ".scope". crio-conmon and libpod-conmon are the monitors, outside of the container.
SEGMENTS = (
    ("docker", re.compile(rf"docker-({IDENTITY})\.scope")),
    ("containerd", re.compile(rf"(?:.*:)?cri-containerd[-:]({IDENTITY})(?:\.scope)?")),
    ("containerd", re.compile(rf"nerdctl-({IDENTITY})\.scope")),
    ("cri-o", re.compile(rf"crio-({IDENTITY})(?:\.scope)?")),
    ("podman", re.compile(rf"libpod-({IDENTITY})(?:\.scope)?")),
    ("lxc", re.compile(r"lxc\.payload\.(.+)")),
    ("nspawn", re.compile(r"systemd-nspawn@(.+)\.service")),
    ("nspawn", re.compile(r"machine-(?!libpod_pod_|qemu)(.+)\.scope")),
)

# A segment that only says something after another one: without systemd the ID stands alone.
PAIRS = (
    ("docker", re.compile(r"docker"), re.compile(f"({IDENTITY})")),
    ("lxc", re.compile(r"lxc"), re.compile(r"(.+)")),
    ("containerd", re.compile(r"default|k8s\.io"), re.compile(r"([\w.-]+)")),
    # Kubernetes with cgroupfs does not say which runtime it has.
    ("cri", re.compile(r"pod[0-9a-f-]{32,36}"), re.compile(f"({IDENTITY})")),
    ("unknown", re.compile(r".*"), re.compile(f"({IDENTITY})")),
)

# kubepods-burstable-podUID.slice, where systemd wants "_" for "-", also as the first part of
# kubepods-...:cri-containerd:ID; /kubepods/burstable/podUID; podman's pods. A static pod's UID is a hash without "-".
POD = re.compile(rf"(?:.*kubepods.*-)?pod([0-9a-f]{{8}}(?:[-_]?[0-9a-f]{{4}}){{3}}[-_]?[0-9a-f]{{12}})(?:\.slice.*)?"
                 rf"|machine-libpod_pod_({IDENTITY})\.slice")
PODMAN_POD = (re.compile(r"libpod_parent"), re.compile(f"({IDENTITY})"))

UNIT = re.compile(r".+\.(?:service|scope|socket|mount|swap)")


class Container(NamedTuple):
    """Where a process runs; `runtime` is "" on the bare machine, and "systemd" if `name` is a unit of it."""

    runtime: str = ""
    name: str = ""
    pod: str = ""


@lru_cache(maxsize=4096)
def parse_cgroups(text: bytes) -> Cgroups:
    """/proc/PID/cgroup, whose lines are NUMBER:CONTROLLERS:PATH. The same for each process of a container, so kept."""
    lines = (line.split(":", 2) for line in text.decode("utf-8", "backslashreplace").splitlines())
    # " (deleted)" is what the kernel puts behind a cgroup that was removed while a zombie is left in it.
    return tuple((line[1], re.sub(r" \(deleted\)$", "", line[2])) for line in lines if len(line) == 3)


@lru_cache(maxsize=4096)
def find_container(cgroups: Cgroups) -> Container:
    """The innermost container that the cgroups name, else the systemd unit, else nothing."""
    containers = [parse_path(path) for _, path in cgroups]
    for container in containers:
        if container.runtime not in ("", "systemd"):
            return container
    return next((container for container in containers if container.runtime), Container())


def pids_path(cgroups: Cgroups) -> tuple[str, bool]:
    """The path of the cgroup in which a process is counted, and whether it is that of cgroup v1's controller pids."""
    paths = {controller: path for controllers, path in cgroups for controller in controllers.split(",")}
    return (paths["pids"], True) if "pids" in paths else (paths.get("", "/"), False)


def parse_path(path: str) -> Container:
    """What one cgroup path says; what is outside of the reader's cgroup namespace begins with /.., and is no less told.
    """
    runtime = name = pod = unit = before = ""
    for segment in path.split("/"):
        found = match_segment(before, segment)
        if found[0] and (found[0] != "unknown" or not runtime):
            runtime, name = found
        pod = match_pod(before, segment) or pod
        if UNIT.fullmatch(segment):
            unit = segment
        before = segment
    if runtime:
        return Container(runtime, name, pod)
    # The pod's own cgroup, or a sandbox's without a container in it.
    return Container("cri", "", pod) if pod else Container("systemd", unit) if unit else Container()


def match_segment(before: str, segment: str) -> tuple[str, str]:
    """(runtime, container) if a segment of a path, after another, names a container; else nothing."""
    for runtime, pattern in SEGMENTS:
        match = pattern.fullmatch(segment)
        if match:
            return runtime, match[1]
    for runtime, first, second in PAIRS:
        match = second.fullmatch(segment)
        if match and first.fullmatch(before):
            return runtime, match[1]
    return "", ""


def match_pod(before: str, segment: str) -> str:
    """The UID or ID of the pod if a segment of a path names one."""
    match = POD.fullmatch(segment)
    if match:
        return (match[1] or match[2]).replace("_", "-")
    match = PODMAN_POD[1].fullmatch(segment)
    return match[1] if match and PODMAN_POD[0].fullmatch(before) else ""
