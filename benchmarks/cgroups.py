"""A PID budget by the pids controller, cgroups(7), in either of its versions; always removed."""

from __future__ import annotations

import os
import time
from typing import Optional

from . import procfs

PREFIX = "pyinit-benchmarks-"


class PidBudget:
    """A control group that holds at most `limit` processes; use it in a `with` statement, which removes it."""

    def __init__(self, root: str, name: str, limit: int) -> None:
        self.folder = f"{root}/{PREFIX}{os.getpid()}-{name}"
        self.limit = limit

    def __enter__(self) -> PidBudget:
        """Create it. Raises OSError."""
        os.mkdir(self.folder)
        try:
            with open(f"{self.folder}/pids.max", "w", encoding="ascii") as file:
                file.write(str(self.limit))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for _attempt in range(100):
            try:
                os.rmdir(self.folder)
                return
            except FileNotFoundError:
                return
            except OSError:  # EBUSY: the last of its processes are still being taken out of it
                time.sleep(0.02)

    @property
    def processes(self) -> str:
        """The file into which a process writes 0 to enter."""
        return f"{self.folder}/cgroup.procs"

    def used(self) -> int:
        """How many PIDs are taken, zombies included."""
        return int(procfs.read(f"{self.folder}/pids.current"))


def find_root() -> Optional[str]:
    """The folder in which a group with a PID limit can be made; None where there is none."""
    for root in list_roots():
        try:
            remove_stale(root)
            with PidBudget(root, "probe", 10) as probe:
                probe.used()
            return root
        except OSError:
            continue
    return None


def list_roots() -> list[str]:
    """The mounted hierarchies that have the pids controller: version 1's own, or version 2's with it handed down."""
    roots = []
    for line in procfs.read("/proc/mounts").splitlines():
        _, folder, kind, options = line.split()[:4]
        if kind == "cgroup" and "pids" in options.split(","):
            roots.append(folder)
        elif kind == "cgroup2":
            try:
                if "pids" in procfs.read(f"{folder}/cgroup.controllers").split():
                    hand_down(folder)
                    roots.append(folder)
            except OSError:
                continue
    return roots


def hand_down(folder: str) -> None:
    """Let the groups below have the pids controller, if they do not yet."""
    if "pids" not in procfs.read(f"{folder}/cgroup.subtree_control").split():
        with open(f"{folder}/cgroup.subtree_control", "w", encoding="ascii") as file:
            file.write("+pids")


def remove_stale(root: str) -> None:
    """Remove what a harness left that was killed by SIGKILL: the groups whose PID is gone."""
    for name in os.listdir(root):
        owner = name[len(PREFIX):].partition("-")[0]
        if name.startswith(PREFIX) and not os.path.exists(f"/proc/{owner}"):
            try:
                os.rmdir(f"{root}/{name}")
            except OSError:
                pass
