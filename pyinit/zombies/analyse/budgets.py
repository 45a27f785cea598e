"""List the limits on tasks that bind where zombies are: how much is used, and when it is used up; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple, Optional

from ..collect.cgroupfs import Limit
from ..collect.containers import pids_path
from .growth import Tally, growth_per_minute, is_measured, seconds_left, tally_ages
from ..collect.snapshot import Snapshot, Zombie

BUDGETS = PID_MAX, THREADS_MAX, CGROUP, NPROC = "pid_max", "threads_max", "cgroup", "nproc"


class Budget(NamedTuple):
    """A limit on tasks. `scope` is a cgroup's path, `uid N`, a PID namespace, or "" for the machine. `growth` is in
    zombies a minute within the scope, or None if it is unknown. `is_measured` is False if it was estimated from ages.
    """

    name: str
    scope: str
    used: int
    limit: int
    growth: Optional[float]
    is_measured: bool = False

    @property
    def share(self) -> float:
        """How much of it is used: 1 or more if it is used up. A limit of 0 forbids every fork, so its share is 1."""
        return self.used / self.limit if self.limit else 1.0

    @property
    def seconds_left(self) -> Optional[float]:
        """Seconds until it is used up at this growth: infinite without growth, None if the growth is unknown."""
        return seconds_left(self.used, self.limit, self.growth)


def find_tightest(budgets: Iterable[Budget]) -> Optional[Budget]:
    """Return the budget that is used up first, or None without budgets. Budgets without a finite time come last, the
    one with the largest share first.
    """
    return min(budgets, default=None, key=lambda budget: (
        float("inf") if budget.seconds_left is None else budget.seconds_left, -budget.share))


class Places:
    """Zombies by the cgroup in which they are counted, as pids_path() returns it, and by user."""

    def __init__(self, snapshot: Snapshot, zombies: Iterable[Zombie]) -> None:
        ages: dict[tuple[tuple[str, bool], int], list[float]] = {}
        for zombie, siblings in gather(zombies):
            key = pids_path(snapshot.cgroups_of(zombie)), zombie.status.uid
            ages.setdefault(key, []).extend(snapshot.seconds_since(each.process.start) for each in siblings)
        self.tallies = {key: tally_ages(each) for key, each in ages.items()}

    def tally(self, cgroups: Optional[frozenset[str]] = None, uid: Optional[int] = None) -> Tally:
        """Return the tally of the zombies in these cgroup paths, or in all, and of this user, or of all users."""
        return sum((part for ((path, _), owner), part in self.tallies.items()
                    if (cgroups is None or path in cgroups) and uid in (None, owner)), Tally())


def gather(zombies: Iterable[Zombie]) -> Iterator[tuple[Zombie, list[Zombie]]]:
    """Group zombies by cgroups, parent and user; return one zombie of each group with the whole group.

    Cgroups are compared as objects: parse_cgroups() returns the same object for most that are equal.
    """
    found: dict[tuple[int, int, int], list[Zombie]] = {}
    for zombie in zombies:
        found.setdefault((id(zombie.cgroups), zombie.process.parent, zombie.status.uid), []).append(zombie)
    return ((siblings[0], siblings) for siblings in found.values())


def list_cgroups(*snapshots: Optional[Snapshot]) -> set[tuple[str, bool]]:
    """Return the cgroups in which the zombies of these samples are counted, as pids_path() returns them."""
    return {pids_path(snapshot.cgroups_of(zombie)) for snapshot in snapshots if snapshot
            for zombie, _ in gather(snapshot.zombies)}


def list_budgets(now: Snapshot, zombies: Places, before: Optional[Places], seconds: float,
                 cgroup_limits: Iterable[Limit]) -> list[Budget]:
    """Return all budgets. `before` are the zombies of the previous sample, `seconds` ago, or None without one."""
    def growth(cgroups: Optional[frozenset[str]] = None, uid: Optional[int] = None) -> tuple[Optional[float], bool]:
        tally, earlier = zombies.tally(cgroups, uid), before.tally(cgroups, uid) if before else None
        return growth_per_minute(tally, earlier, seconds), is_measured(tally, earlier)

    budgets = []
    for name, scope, used, most in ((PID_MAX, now.pid_scope, now.pids, now.pid_max),
                                    (THREADS_MAX, "", now.tasks, now.threads_max)):
        if used is not None and most is not None:
            budgets.append(Budget(name, scope, used, most, *growth()))
    for limit in cgroup_limits:
        budgets.append(Budget(CGROUP, limit.path, limit.used, limit.limit, *growth(limit.members)))
    for uid, most in sorted(limits_of_users(now).items()):
        budgets.append(Budget(NPROC, f"uid {uid}", now.users.get(uid, 0), most, *growth(uid=uid)))
    return budgets


def list_unread(snapshot: Snapshot, cgroups: Collection[str]) -> tuple[str, ...]:
    """Return the names of the budgets that could not be read completely. cgroups: the paths that read_limits() could
    not read.
    """
    return tuple(name for name, is_unread in (
        (PID_MAX, snapshot.pids is None or snapshot.pid_max is None),
        (THREADS_MAX, snapshot.tasks is None or snapshot.threads_max is None),
        (CGROUP, bool(cgroups)),
        (NPROC, snapshot.actors_unread > 0)) if is_unread)


def limits_of_users(snapshot: Snapshot) -> dict[int, int]:
    """Return the lowest RLIMIT_NPROC among the parents of zombies, by UID. Each process has its own limit, but all
    tasks of the user count against it, setrlimit(2).
    """
    limits: dict[int, int] = {}
    for pid in {zombie.process.parent for zombie in snapshot.zombies} & snapshot.actors.keys():
        uid, limit = snapshot.actors[pid].status.uid, snapshot.actors[pid].process_limit
        if limit is not None:
            limits[uid] = min(limits.get(uid, limit), limit)
    return limits
