"""From trace events to latencies: which orphan became a zombie of the init when, and when it was gone.

The exiting task sends SIGCHLD to the init: from that instant the zombie can be reaped. wait4(2) returns in the init:
now it is gone. The signal carries a global PID and wait4 returns one of the init's PID namespace; the fork events of
the storm, a global PID each, and the return values of their system calls, one of the namespace each, connect the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Iterable, Optional

from .ringbuffer import Event
from .tracing import CLONES, FORK, SIGNAL, WAITS

WAIT4, WAITID = WAITS


@dataclass
class Reap:
    """One orphan: when it could be reaped and when it was gone, in nanoseconds, and its place in the storm's order."""

    order: int
    ready: int
    gone: int

    @property
    def latency(self) -> int:
        """Nanoseconds from the one instant to the other."""
        return self.gone - self.ready


@dataclass
class Reaps:
    """What one storm's events say. unmatched: reaped children of whom no signal was seen; waits: all wait calls."""

    reaps: list[Reap] = field(default_factory=list)
    unmatched: int = 0
    waits: int = 0
    by_order: int = 0  # reaped by waitid(2), which returns no PID: matched by the order of their signals


class Matcher:
    """Follows the events of one storm in the order of their time."""

    def __init__(self) -> None:
        self.result = Reaps()
        self.newest: dict[int, int] = {}  # a task's latest child, whose number in the namespace is not yet known
        self.children: dict[int, list[int]] = {}  # those of whom no signal was seen
        self.number: dict[int, int] = {}  # PID in the namespace to global PID
        self.order: dict[int, int] = {}  # a child's place among all that were forked by its kind of parent
        self.births = 0
        self.ready: dict[int, int] = {}

    def follow(self, event: Event) -> None:
        """Take in one event."""
        if event.name == FORK:
            self.fork(event.pid, event.fields["child_pid"])
        elif event.name in CLONES:
            child = self.newest.pop(event.pid, None)
            if child is not None:
                self.number[event.fields["ret"]] = child
        elif event.name == SIGNAL:
            self.ready.setdefault(self.find_zombie(event.pid), event.time)
        elif event.name in WAITS:
            self.result.waits += 1
            self.gone(event)

    def fork(self, parent: int, child: int) -> None:
        """A task of the storm has made a child."""
        for table in (self.newest, self.children, self.ready):
            table.pop(child, None)  # of an earlier process: the kernel uses PIDs again
        self.newest[parent] = child
        self.children.setdefault(parent, []).append(child)
        self.order[child] = self.births
        self.births += 1

    def find_zombie(self, task: int) -> int:
        """Which process a SIGCHLD that was sent from a task is about: the task itself, which exits; or, if it is a
        parent that exits and leaves zombies, the next of them: the kernel hands them over in the order of their birth.
        """
        zombies = self.children.get(task)
        return zombies.pop(0) if zombies else task

    def gone(self, event: Event) -> None:
        """A wait call of the init has returned."""
        value = event.fields["ret"]
        if event.name == WAIT4 and value > 0:
            zombie: Optional[int] = self.number.get(value)
        elif event.name == WAITID and value == 0 and self.ready:
            zombie = next(iter(self.ready))
            self.result.by_order += 1
        else:
            return
        ready = self.ready.pop(zombie, None) if zombie is not None else None
        if ready is None:
            self.result.unmatched += 1
        else:
            self.result.reaps.append(Reap(self.order.get(zombie, -1), ready, event.time))


def count_most(reaps: Iterable[Reap]) -> int:
    """How many of them were zombies at the same instant, at most."""
    steps = [step for reap in reaps for step in ((reap.ready, 1), (reap.gone, -1))]
    most = now = 0
    for _, change in sorted(steps):  # at the same instant the one that goes comes first
        now += change
        most = max(most, now)
    return most


def match(events: Iterable[Event]) -> Reaps:
    """Match the events of one storm; the reaps' orders are 0, 1, 2 ... by birth."""
    matcher = Matcher()
    for event in events:
        matcher.follow(event)
    result = matcher.result
    places = {order: place for place, order in enumerate(sorted(reap.order for reap in result.reaps))}
    for reap in result.reaps:
        reap.order = places[reap.order]
    return result
