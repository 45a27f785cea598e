"""Compute reap latencies from trace events: when each orphan could be reaped, and when the init reaped it.

A zombie can be reaped from the instant at which its exiting task sends SIGCHLD to the init. It has been reaped when
wait4(2) returns in the init. The SIGCHLD event has the zombie's global PID, but wait4(2) returns its PID in the init's
namespace. Two events of the storm connect these numbers: a fork event has the global PID of the new child, and the
return value of the system call has its PID in the namespace.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from collections.abc import Iterable
from typing import Optional

from .ringbuffer import Event
from .tracing import CLONES, FORK, SIGNAL, WAITS

WAIT4, WAITID = WAITS


@dataclass
class Reap:
    """A reaped orphan: its number in the order of birth, and when it could be and was reaped, in nanoseconds."""

    order: int
    ready: int
    gone: int

    @property
    def latency(self) -> int:
        """Return the nanoseconds from the instant at which it could be reaped until it was."""
        return self.gone - self.ready


@dataclass
class Reaps:
    """The result of one storm. unmatched: how many reaped children have no SIGCHLD event; waits: all wait calls."""

    reaps: list[Reap] = field(default_factory=list)
    unmatched: int = 0
    waits: int = 0
    by_order: int = 0  # how many waitid(2) reaped: it returns no PID, so they are matched in the order of their signals


class Matcher:
    """Matches the events of one storm, which it takes in the order of their time."""

    def __init__(self) -> None:
        self.result = Reaps()
        self.newest: dict[int, int] = {}  # a task to its latest child, whose PID in the namespace is still unknown
        self.children: dict[int, list[int]] = {}  # a task to its children without a SIGCHLD yet, by birth
        self.number: dict[int, int] = {}  # PID in the namespace to global PID
        self.order: dict[int, int] = {}  # a child's number in the order of birth
        self.births = 0
        self.ready: dict[int, int] = {}  # a zombie to the instant of its SIGCHLD

    def follow(self, event: Event) -> None:
        """Process one event."""
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
        """Record that a task of the storm has made a child."""
        for table in (self.newest, self.children, self.ready):
            table.pop(child, None)  # an earlier process may have had this PID
        self.newest[parent] = child
        self.children.setdefault(parent, []).append(child)
        self.order[child] = self.births
        self.births += 1

    def find_zombie(self, task: int) -> int:
        """Return the process that a SIGCHLD from a task is about.

        That is the exiting task itself. But if the task leaves zombies, it is the next of them: the kernel gives them
        to the init in the order of their birth, with a SIGCHLD for each.
        """
        zombies = self.children.get(task)
        return zombies.pop(0) if zombies else task

    def gone(self, event: Event) -> None:
        """Record that a wait call of the init has returned."""
        value = event.fields["ret"]
        if event.name == WAIT4 and value > 0:
            zombie: Optional[int] = self.number.get(value)
        elif event.name == WAITID and value == 0 and self.ready:
            zombie = next(iter(self.ready))
            self.result.by_order += 1
        else:
            return
        ready = self.ready.pop(zombie, None) if zombie is not None else None
        if zombie is None or ready is None:
            self.result.unmatched += 1
        else:
            self.result.reaps.append(Reap(self.order.get(zombie, -1), ready, event.time))


def count_most(reaps: Iterable[Reap]) -> int:
    """Return the largest number of zombies at the same instant."""
    steps = [step for reap in reaps for step in ((reap.ready, 1), (reap.gone, -1))]
    most = now = 0
    for _, change in sorted(steps):  # at equal instants, a reaped zombie is counted before a new one
        now += change
        most = max(most, now)
    return most


def match(events: Iterable[Event]) -> Reaps:
    """Match the events of one storm, sorted by time; number the reaps 0, 1, 2 ... by birth."""
    matcher = Matcher()
    for event in events:
        matcher.follow(event)
    result = matcher.result
    places = {order: place for place, order in enumerate(sorted(reap.order for reap in result.reaps))}
    for reap in result.reaps:
        reap.order = places[reap.order]
    return result
