"""PID budgets and CPU quotas by control groups of version 1 or 2, cgroups(7). Each group is removed at its end."""

from __future__ import annotations

import os
import time
from typing import Optional, TypeVar

from . import procfs
from .identity import HARNESS

PREFIX = "pyinit-benchmarks-"
CPU_PERIOD = 100_000  # microseconds, the kernel's own default

Entered = TypeVar("Entered", bound="Group")


class Group:
    """A control group below the folder `root`; use it in a `with` statement, which removes it."""

    controller = ""

    def __init__(self, root: str, name: str) -> None:
        self.folder = f"{root}/{PREFIX}{HARNESS}-{name}"

    def __enter__(self: Entered) -> Entered:
        """Create the group. Raises OSError."""
        os.mkdir(self.folder)
        try:
            self.set_up()
        except BaseException:
            self.__exit__()
            raise
        return self

    def set_up(self) -> None:
        """Limit what the group may use. Raises OSError."""
        raise NotImplementedError

    def write(self, name: str, text: str) -> None:
        """Write one of the group's files. Raises OSError."""
        with open(f"{self.folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)

    def __exit__(self, *_: object) -> None:
        for _attempt in range(100):
            try:
                os.rmdir(self.folder)
                return
            except FileNotFoundError:
                return
            except OSError:  # EBUSY: the kernel is still removing its last processes
                time.sleep(0.02)

    @property
    def processes(self) -> str:
        """Return the path of the file into which a process writes 0 to enter the group."""
        return f"{self.folder}/cgroup.procs"


class PidBudget(Group):
    """A group that holds at most `limit` processes."""

    controller = "pids"

    def __init__(self, root: str, name: str, limit: int = 10) -> None:
        super().__init__(root, name)
        self.limit = limit

    def set_up(self) -> None:
        self.write("pids.max", str(self.limit))
        self.used()

    def used(self) -> int:
        """Return how many PIDs are in use, zombies included. Raises OSError."""
        return int(procfs.read(f"{self.folder}/pids.current"))


class CpuQuota(Group):
    """A group with a share of one CPU: the kernel stops it for the rest of each period once it has used that share."""

    controller = "cpu"

    def __init__(self, root: str, name: str, share: float = 0.01) -> None:
        super().__init__(root, name)
        self.share = share

    def set_up(self) -> None:
        self.limit(str(int(CPU_PERIOD * self.share)))
        self.count_stops()

    def limit(self, quota: str) -> None:
        """Set the quota: the microseconds of CPU time in each period, or "max". Raises OSError."""
        if os.path.exists(f"{self.folder}/cpu.cfs_quota_us"):
            self.write("cpu.cfs_period_us", str(CPU_PERIOD))
            self.write("cpu.cfs_quota_us", "-1" if quota == "max" else quota)
        else:
            self.write("cpu.max", f"{quota} {CPU_PERIOD}")

    def lift(self) -> None:
        """Remove the limit, so that the group's processes can end quickly; do nothing if the group no longer exists."""
        try:
            self.limit("max")
        except OSError:
            pass

    def add(self, pid: int) -> None:
        """Move a process into the group. Raises OSError."""
        self.write("cgroup.procs", str(pid))

    def count_stops(self) -> int:
        """Return in how many periods the kernel stopped the group because its quota was used up. Raises OSError."""
        fields = dict(line.split() for line in procfs.read(f"{self.folder}/cpu.stat").splitlines())
        return int(fields["nr_throttled"])


def find_root(kind: type[Group] = PidBudget) -> Optional[str]:
    """Return the folder in which a group of this kind can be made, or None. Makes and removes a group to find out."""
    for root in list_roots(kind.controller):
        try:
            remove_stale(root)
            with kind(root, "probe"):
                return root
        except (OSError, KeyError):
            continue
    return None


def list_roots(controller: str) -> list[str]:
    """Return the folders of the mounted hierarchies with a controller; in version 2, enable it for the groups below."""
    roots = []
    for line in procfs.read("/proc/mounts").splitlines():
        _, folder, kind, options = line.split()[:4]
        if kind == "cgroup" and controller in options.split(","):
            roots.append(folder)
        elif kind == "cgroup2":
            try:
                if controller in procfs.read(f"{folder}/cgroup.controllers").split():
                    hand_down(folder, controller)
                    roots.append(folder)
            except OSError:
                continue
    return roots


def hand_down(folder: str, controller: str) -> None:
    """Enable a controller for the groups below a folder of version 2, if it is not enabled. Raises OSError."""
    if controller not in procfs.read(f"{folder}/cgroup.subtree_control").split():
        with open(f"{folder}/cgroup.subtree_control", "w", encoding="ascii") as file:
            file.write(f"+{controller}")


def remove_stale(root: str) -> None:
    """Remove the groups of a harness that SIGKILL ended: the PID in their names no longer exists."""
    for name in os.listdir(root):
        owner = name[len(PREFIX):].partition("-")[0]
        if name.startswith(PREFIX) and not os.path.exists(f"/proc/{owner}"):
            try:
                os.rmdir(f"{root}/{name}")
            except OSError:
                pass
