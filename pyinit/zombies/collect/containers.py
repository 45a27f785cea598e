"""Find the container, pod or systemd unit of a process from its cgroups, cgroups(7)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

# (controllers, path) for each line of /proc/PID/cgroup; the controllers of cgroup v2 are "".
Cgroups = tuple[tuple[str, str], ...]

IDENTITY = r"[0-9a-f]{64}"

# Segments of a cgroup path that name a container, with the runtime that made it. The systemd driver appends ".scope"
# to the ID. crio-conmon-ID and libpod-conmon-ID match nothing: they hold the monitors, outside of the container.
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

# Segments that name a container only after a certain other segment: without systemd the ID stands alone.
PAIRS = (
    ("docker", re.compile(r"docker"), re.compile(f"({IDENTITY})")),
    ("lxc", re.compile(r"lxc"), re.compile(r"(.+)")),
    ("containerd", re.compile(r"default|k8s\.io"), re.compile(r"([\w.-]+)")),
    # With the cgroupfs driver, a Kubernetes path does not name the runtime.
    ("cri", re.compile(r"pod[0-9a-f-]{32,36}"), re.compile(f"({IDENTITY})")),
    ("unknown", re.compile(r".*"), re.compile(f"({IDENTITY})")),
)

# Matches kubepods-burstable-podUID.slice, where systemd needs "_" for "-", also as the first part of
# kubepods-...:cri-containerd:ID; /kubepods/burstable/podUID; and podman's pods. The UID of a static pod is a hash
# without "-".
POD = re.compile(rf"(?:.*kubepods.*-)?pod([0-9a-f]{{8}}(?:[-_]?[0-9a-f]{{4}}){{3}}[-_]?[0-9a-f]{{12}})(?:\.slice.*)?"
                 rf"|machine-libpod_pod_({IDENTITY})\.slice")
PODMAN_POD = (re.compile(r"libpod_parent"), re.compile(f"({IDENTITY})"))

UNIT = re.compile(r".+\.(?:service|scope|socket|mount|swap)")


class Container(NamedTuple):
    """Where a process runs. `runtime` is "" on the bare machine, and "systemd" if `name` is a systemd unit."""

    runtime: str = ""
    name: str = ""
    pod: str = ""


@lru_cache(maxsize=4096)
def parse_cgroups(text: bytes) -> Cgroups:
    """Parse /proc/PID/cgroup, whose lines are NUMBER:CONTROLLERS:PATH. The result is cached: all processes of a
    container have the same text.
    """
    # The kernel accepts any character but a newline in a cgroup's name. str.splitlines() splits at others as well, so a
    # name could forge a line.
    lines = (line.split(":", 2) for line in text.decode("utf-8", "backslashreplace").split("\n"))
    # The kernel appends " (deleted)" to the path of a cgroup that was removed while a zombie is left in it.
    return tuple((line[1], re.sub(r" \(deleted\)$", "", line[2])) for line in lines if len(line) == 3)


@lru_cache(maxsize=4096)
def find_container(cgroups: Cgroups) -> Container:
    """Return the innermost container that the cgroups name, else the systemd unit, else an empty Container."""
    containers = [parse_path(path) for _, path in cgroups]
    for container in containers:
        if container.runtime not in ("", "systemd"):
            return container
    return next((container for container in containers if container.runtime), Container())


def pids_path(cgroups: Cgroups) -> tuple[str, bool]:
    """Return the path of the cgroup that counts a process, and whether it is that of cgroup v1's controller pids."""
    paths = {controller: path for controllers, path in cgroups for controller in controllers.split(",")}
    return (paths["pids"], True) if "pids" in paths else (paths.get("", "/"), False)


def parse_path(path: str) -> Container:
    """Return what one cgroup path names. A path outside of the reader's cgroup namespace begins with /.., and is parsed
    like any other.
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
    """Return (runtime, container) if a segment of a path, after the segment `before`, names a container, else ("", "").
    """
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
    """Return the UID or ID of the pod if a segment of a path, after the segment `before`, names one, else ""."""
    match = POD.fullmatch(segment)
    if match:
        return (match[1] or match[2]).replace("_", "-")
    match = PODMAN_POD[1].fullmatch(segment)
    return match[1] if match and PODMAN_POD[0].fullmatch(before) else ""
