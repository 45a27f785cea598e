"""What a sample means: whose zombies they are and why they are there; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import NamedTuple, Optional

from .budgets import Budget, Places, find_tightest, gather, list_budgets, list_unread
from ..collect.cgroupfs import Limit
from ..collect.containers import Container, find_container
from .growth import Tally, growth_per_minute, tally_ages
from ..collect.snapshot import Actor, Process, Snapshot, Zombie

# Why a zombie is there, from the one that names a fault most often to those that name none.
NOT_WAITING = "not-waiting"            # its parent is alive and does not wait
PARENT_STOPPED = "parent-stopped"      # its parent cannot: SIGSTOP, or a debugger
INIT_NOT_REAPING = "init-not-reaping"  # its parent is a PID 1 that does not wait, most often for those it adopted
TRACED = "traced"                      # a tracer has to wait before its parent can, ptrace(2)
TEARDOWN = "teardown"                  # PID 1 of its namespace has ended and waits for the last process there
THREADS_ALIVE = "threads-alive"        # the leader of a thread group whose threads go on
REAPED_SLOWLY = "reaped-slowly"        # its parent does wait: those of the sample before have gone
CAUSES = (NOT_WAITING, PARENT_STOPPED, INIT_NOT_REAPING, TRACED, TEARDOWN, THREADS_ALIVE, REAPED_SLOWLY)

# Those that are no fault of anybody.
HARMLESS = (THREADS_ALIVE, REAPED_SLOWLY)

# The kernel's states of a stopped and of a traced process, proc(5).
STOPPED = ("T", "t")
UNINTERRUPTIBLE = "D"

# How many PIDs of a group, or names, are told.
NAMED = 10

# How many of a chain of parents are told: those next to the zombies, and those next to PID 1.
NEAR, FAR = 20, 5

# (parent, cause) to zombies.
Sorted = dict[tuple[int, str], list[Zombie]]


class Group(NamedTuple):
    """Zombies with one parent and one cause. `parent` is None when it is not to be seen, and `parent_pid` then tells
    all there is. `responsible` are the processes that the verdict names beside the parent: the tracer, the leaders of
    live threads, who keeps a namespace from ending.
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
    """All that is told of a sample; `interval` is in seconds, None without an earlier one. `groups` are those with the
    most zombies, and `left_out` counts the others; `causes` counts the zombies of all. `unread` names the budgets of
    which not all could be read: how long PIDs last is not known then.
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
        """How many zombies there are."""
        return len(self.snapshot.zombies)

    @property
    def tightest(self) -> Optional[Budget]:
        """The budget that is used up first, as find_tightest() has it."""
        return find_tightest(self.budgets)


def make_report(now: Snapshot, before: Optional[Snapshot], limits: Iterable[Limit], most: int = 50,
                unread_cgroups: Collection[str] = ()) -> Report:
    """The report on a sample, with `most` groups at most; with the sample before, if there is one, growth is measured
    and not estimated. limits, unread_cgroups: what read_limits() returns.
    """
    dying = find_dying_inits(now)
    left = find_left(now, dying)
    zombies = sort_zombies(now, dying, find_reapers(now, before))
    earlier = sort_zombies(before, find_dying_inits(before), set()) if before else None
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
    """The zombies from which a forecast is made: those that do not go by themselves."""
    return [zombie for (_, cause), members in zombies.items() if cause not in HARMLESS for zombie in members]


def count_before(now: Sorted, before: Optional[Sorted], key: tuple[int, str]) -> Optional[Tally]:
    """How many zombies a group had in the sample before, None without one: those of its cause; where there were none,
    those whose cause has become another one meanwhile.
    """
    if before is None:
        return None
    if key in before:
        return Tally(len(before[key]))
    others = ((key[0], cause) for cause in CAUSES)
    return Tally(sum(len(before.get(other, ())) for other in others if other not in now))


def sort_zombies(snapshot: Snapshot, dying: set[int], reapers: set[int]) -> Sorted:
    """The zombies by (parent, cause)."""
    found: Sorted = {}
    for zombie in snapshot.zombies:
        parent = zombie.process.parent
        cause = find_cause(zombie, snapshot, dying)
        if parent in reapers and cause in (NOT_WAITING, INIT_NOT_REAPING):
            cause = REAPED_SLOWLY
        found.setdefault((parent, cause), []).append(zombie)
    return found


def find_cause(zombie: Zombie, snapshot: Snapshot, dying: set[int]) -> str:
    """Why a zombie has not been reaped; `dying` are the PIDs of inits whose namespace is torn down."""
    if dying and not dying.isdisjoint(process.pid for process in snapshot.chain(zombie.process.pid)):
        return TEARDOWN
    # With its threads all zombies, too, there is only the tracer left that can wait for them.
    if zombie.process.threads > 1 and not (zombie.threads and all(thread.is_zombie for thread in zombie.threads)):
        return THREADS_ALIVE
    if zombie.status.tracer:
        return TRACED
    parent = snapshot.actors.get(zombie.process.parent)
    if parent and parent.process.state in STOPPED:
        return PARENT_STOPPED
    return INIT_NOT_REAPING if parent and parent.status.is_init else NOT_WAITING


def find_dying_inits(snapshot: Snapshot) -> set[int]:
    """PID 1 of each PID namespace that is torn down: it exits, but not before all others there have been reaped,
    pid_namespaces(7). Its leader may be a zombie meanwhile, while the last of its threads waits.
    """
    leaders = {zombie.process.pid for zombie in snapshot.zombies
               if zombie.status.is_init and zombie.threads and all(thread.is_exiting for thread in zombie.threads)}
    return leaders | {pid for pid, actor in snapshot.actors.items() if actor.status.is_init
                      and actor.process.is_exiting and not actor.process.is_zombie}


def find_left(snapshot: Snapshot, dying: set[int]) -> tuple[Process, ...]:
    """Whom the teardown of a PID namespace waits for: who is in an uninterruptible sleep keeps the others from ending;
    if nobody is, all that are left.
    """
    if not dying:
        return ()
    left = [process for process in snapshot.processes.values() if not process.is_zombie and process.pid not in dying
            and not dying.isdisjoint(ancestor.pid for ancestor in snapshot.chain(process.pid))]
    return tuple([process for process in left if process.state == UNINTERRUPTIBLE] or left)[:NAMED]


def find_reapers(now: Snapshot, before: Optional[Snapshot]) -> set[int]:
    """The parents all of whose zombies of the sample before have gone, and that have no more than then: they wait, if
    late.
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
    """Whom the verdict has to name beside the parent; `left` are those for whom a teardown waits."""
    if cause == THREADS_ALIVE:
        stuck = [thread for zombie in zombies for thread in zombie.threads if thread.state == UNINTERRUPTIBLE]
        return tuple(stuck or [zombie.process for zombie in zombies])[:NAMED]
    if cause == TRACED:
        tracers = sorted({zombie.status.tracer for zombie in zombies})
        return tuple(snapshot.processes[pid] for pid in tracers if pid in snapshot.processes)
    return left if cause == TEARDOWN else ()


def make_group(snapshot: Snapshot, key: tuple[int, str], zombies: list[Zombie], before: Optional[Tally], seconds: float,
               left: tuple[Process, ...]) -> Group:
    """One group, with what is to be told of its parent; `before` is what it was `seconds` ago."""
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
