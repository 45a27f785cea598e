"""Interpret a sample: which parent each zombie has, and why it has not been reaped; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple, Optional

from .budgets import Budget, Places, find_tightest, gather, list_budgets, list_unread
from ..collect.cgroupfs import Limit
from ..collect.containers import Container, find_container
from .growth import Tally, growth_per_minute, tally_ages
from ..collect.snapshot import Actor, Process, Snapshot, Zombie

# Why a zombie has not been reaped: the most frequent fault first, causes that are no fault last.
NOT_WAITING = "not-waiting"            # its parent is alive and does not wait
PARENT_STOPPED = "parent-stopped"      # its parent cannot wait: SIGSTOP or a debugger has stopped it
INIT_NOT_REAPING = "init-not-reaping"  # its parent is a PID 1 that does not wait, most often for adopted children
TRACED = "traced"                      # its tracer has to wait before its parent can, ptrace(2)
TEARDOWN = "teardown"                  # PID 1 of its namespace is exiting and waits for the last process in it
THREADS_ALIVE = "threads-alive"        # it is the leader of a thread group whose other threads go on
REAPED_SLOWLY = "reaped-slowly"        # its parent does wait: the zombies of the previous sample have been reaped
CAUSES = (NOT_WAITING, PARENT_STOPPED, INIT_NOT_REAPING, TRACED, TEARDOWN, THREADS_ALIVE, REAPED_SLOWLY)

# Causes that are no leak.
HARMLESS = (THREADS_ALIVE, REAPED_SLOWLY)

# The kernel's states of a stopped and of a traced process, proc(5).
STOPPED = ("T", "t")
UNINTERRUPTIBLE = "D"

# How many PIDs, names or processes a report lists for a group.
NAMED = 10

# How many processes of a chain of parents a report lists: those next to the zombies, and those next to PID 1.
NEAR, FAR = 20, 5

# Maps (PID of the parent, cause) to zombies.
Sorted = dict[tuple[int, str], list[Zombie]]


class Group(NamedTuple):
    """Zombies with one parent and one cause. `parent` is None if it cannot be seen; only `parent_pid` is known then.
    `container` is the parent's, and `origin` that of most of the zombies. `growth` is in zombies a minute.
    `responsible` are the processes that the verdict names beside the parent: tracers, leaders of live threads, and
    processes that keep a namespace from ending.
    """

    cause: str
    parent_pid: int
    parent: Optional[Actor]
    container: Container
    origin: Container
    zombies: Tally
    growth: Optional[float]
    names: tuple[tuple[str, int], ...]
    pids: tuple[int, ...]
    chain: tuple[Process, ...]
    responsible: tuple[Process, ...]


class Report(NamedTuple):
    """What a sample says. `interval` is the time in seconds since the previous sample, or None without one. `growth` is
    in zombies a minute. `groups` are the groups with the most zombies, and `left_out` is the number of the others.
    `causes` counts the zombies of all groups by cause. `unread` names the budgets that could not be read completely:
    how long PIDs last is unknown then.
    """

    snapshot: Snapshot
    interval: Optional[float]
    growth: Optional[float]
    groups: tuple[Group, ...]
    left_out: int
    causes: dict[str, int]
    budgets: tuple[Budget, ...]
    unread: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """The number of zombies."""
        return len(self.snapshot.zombies)

    @property
    def tightest(self) -> Optional[Budget]:
        """The budget that is used up first, see find_tightest()."""
        return find_tightest(self.budgets)


def make_report(now: Snapshot, before: Optional[Snapshot], limits: Iterable[Limit], most: int = 50,
                unread_cgroups: Collection[str] = ()) -> Report:
    """Return the report on a sample, with `most` groups at most. If there is a previous sample, `before`, growth is
    measured and not estimated. limits, unread_cgroups: what read_limits() returns.
    """
    dying = find_dying_inits(now)
    left = find_left(now, dying)
    reapers = find_reapers(now, before)
    zombies = sort_zombies(now, dying, reapers)
    # The same reapers in both samples: else the earlier zombies of each would count as a leak that has ended, and hide
    # the leak of another parent.
    earlier = sort_zombies(before, find_dying_inits(before), reapers) if before else None
    seconds = now.clock - before.clock if before else 0.0
    largest = sorted(zombies, key=lambda key: (-len(zombies[key]), key))[:most]
    groups = tuple(make_group(now, key, zombies[key], count_before(zombies, earlier, key), seconds, left)
                   for key in largest)
    causes = dict.fromkeys(CAUSES, 0)
    for (_, cause), members in zombies.items():
        causes[cause] += len(members)
    places = Places(now, choose_growing(zombies))
    places_before = Places(before, choose_growing(earlier)) if before and earlier is not None else None
    growth = growth_per_minute(places.tally(), places_before.tally() if places_before else None, seconds)
    return Report(now, seconds if before else None, growth, groups, len(zombies) - len(groups), causes,
                  tuple(list_budgets(now, places, places_before, seconds, limits)), list_unread(now, unread_cgroups))


def choose_growing(zombies: Sorted) -> list[Zombie]:
    """Return the zombies that count in a forecast: those that do not go away by themselves."""
    return [zombie for (_, cause), members in zombies.items() if cause not in HARMLESS for zombie in members]


def count_before(now: Sorted, before: Optional[Sorted], key: tuple[int, str]) -> Optional[Tally]:
    """Return how many zombies the group `key` had in the previous sample, or None without a previous sample.

    If it had none, the cause of the parent's zombies may have changed: count those of causes that it no longer has.
    """
    if before is None:
        return None
    if key in before:
        return Tally(len(before[key]))
    others = ((key[0], cause) for cause in CAUSES)
    return Tally(sum(len(before.get(other, ())) for other in others if other not in now))


def sort_zombies(snapshot: Snapshot, dying: set[int], reapers: set[int]) -> Sorted:
    """Return the zombies by (parent, cause). dying, reapers: what find_dying_inits() and find_reapers() return."""
    found: Sorted = {}
    for zombie in snapshot.zombies:
        parent = zombie.process.parent
        cause = find_cause(zombie, snapshot, dying)
        if parent in reapers and cause in (NOT_WAITING, INIT_NOT_REAPING):
            cause = REAPED_SLOWLY
        found.setdefault((parent, cause), []).append(zombie)
    return found


def find_cause(zombie: Zombie, snapshot: Snapshot, dying: set[int]) -> str:
    """Return why a zombie has not been reaped. `dying` are the PIDs of inits whose namespace is torn down."""
    if dying and not dying.isdisjoint(process.pid for process in snapshot.chain(zombie.process.pid)):
        return TEARDOWN
    # If all its threads are zombies, too, only a tracer is left that can wait for them.
    if zombie.process.threads > 1 and not (zombie.threads and all(thread.is_zombie for thread in zombie.threads)):
        return THREADS_ALIVE
    if zombie.status.tracer:
        return TRACED
    parent = snapshot.actors.get(zombie.process.parent)
    if parent and parent.process.state in STOPPED:
        return PARENT_STOPPED
    return INIT_NOT_REAPING if parent and parent.status.is_init else NOT_WAITING


def find_dying_inits(snapshot: Snapshot) -> set[int]:
    """Return the PID of the PID 1 of each PID namespace that is torn down. It exits only after all other processes in
    the namespace have been reaped, pid_namespaces(7). Its leader may already be a zombie while its last thread waits.
    """
    leaders = {zombie.process.pid for zombie in snapshot.zombies
               if zombie.status.is_init and zombie.threads and all(thread.is_exiting for thread in zombie.threads)}
    return leaders | {pid for pid, actor in snapshot.actors.items() if actor.status.is_init
                      and actor.process.is_exiting and not actor.process.is_zombie}


def find_left(snapshot: Snapshot, dying: set[int]) -> tuple[Process, ...]:
    """Return at most NAMED of the processes for which the teardown of a PID namespace waits: those in an
    uninterruptible sleep, which keep the others from ending, or else all that are left.
    """
    if not dying:
        return ()
    left = [process for process in snapshot.processes.values() if not process.is_zombie and process.pid not in dying
            and not dying.isdisjoint(ancestor.pid for ancestor in snapshot.chain(process.pid))]
    return tuple([process for process in left if process.state == UNINTERRUPTIBLE] or left)[:NAMED]


def find_reapers(now: Snapshot, before: Optional[Snapshot]) -> set[int]:
    """Return the PIDs of parents that wait, if late. All their zombies of the previous sample have been reaped, and
    they have no more zombies than then.
    """
    if before is None:
        return set()
    still = {(zombie.process.pid, zombie.process.start) for zombie in now.zombies}
    count_now = Counter(zombie.process.parent for zombie in now.zombies)
    had = Counter(zombie.process.parent for zombie in before.zombies)
    return {parent for parent in had if count_now[parent] <= had[parent]} - {
        zombie.process.parent for zombie in before.zombies if (zombie.process.pid, zombie.process.start) in still}


def find_responsible(snapshot: Snapshot, cause: str, zombies: list[Zombie],
                     left: tuple[Process, ...]) -> tuple[Process, ...]:
    """Return the processes that the verdict names beside the parent. `left` are those for which a teardown waits."""
    if cause == THREADS_ALIVE:
        stuck = [thread for zombie in zombies for thread in zombie.threads if thread.state == UNINTERRUPTIBLE]
        return tuple(stuck or [zombie.process for zombie in zombies])[:NAMED]
    if cause == TRACED:
        tracers = sorted({zombie.status.tracer for zombie in zombies})
        return tuple(snapshot.processes[pid] for pid in tracers if pid in snapshot.processes)
    return left if cause == TEARDOWN else ()


def make_group(snapshot: Snapshot, key: tuple[int, str], zombies: list[Zombie], before: Optional[Tally], seconds: float,
               left: tuple[Process, ...]) -> Group:
    """Return the group of `key`, (parent, cause). `before` is its tally `seconds` ago; left: what find_left() returns.
    """
    parent_pid, cause = key
    parent = snapshot.actors.get(parent_pid)
    tally = tally_ages([snapshot.seconds_since(zombie.process.start) for zombie in zombies])
    names = Counter(zombie.process.name for zombie in zombies)
    origins: Counter[Container] = Counter()
    for zombie, siblings in gather(zombies):
        origins[find_container(snapshot.cgroups_of(zombie))] += len(siblings)
    chain = snapshot.chain(parent_pid)
    return Group(cause, parent_pid, parent, find_container(parent.cgroups) if parent else Container(),
                 origins.most_common(1)[0][0], tally, growth_per_minute(tally, before, seconds),
                 tuple(names.most_common(NAMED)), tuple(sorted(zombie.process.pid for zombie in zombies)[:NAMED]),
                 tuple(chain[:NEAR] + chain[max(NEAR, len(chain) - FAR):]),
                 find_responsible(snapshot, cause, zombies, left))
