"""Made-up processes and snapshots for the tests of the zombie report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, TypedDict

from pyinit.zombies.analyse.report import Report, make_report
from pyinit.zombies.collect.cgroupfs import Limit
from pyinit.zombies.collect.snapshot import Actor, Process, Snapshot, Status, Zombie

if TYPE_CHECKING:
    from typing_extensions import Unpack  # before Python 3.11 typing has none

ID = "0123456789abcdef" * 4
UID = "8f2c1f0e-55aa-4b7e-9d0b-0c4b5a0f3d21"
UID_ = UID.replace("-", "_")


class Figures(TypedDict, total=False):
    """The figures of a Snapshot. One that is absent or None could not be read."""

    users: dict[int, int]
    unreadable: int
    actors_unread: int
    pids: Optional[int]
    pid_max: Optional[int]
    tasks: Optional[int]
    threads_max: Optional[int]


def process(pid: int, parent: int, name: str = "sh", state: str = "S", threads: int = 1, start: int = 0) -> Process:
    """Return a process; by default it was started at boot and has one thread."""
    return Process(pid, parent, name, state, flags=0, threads=threads, start=start)


def snapshot(processes: list[Process], clock: float = 1000, status: Optional[dict[int, Status]] = None,
             threads: Optional[dict[int, tuple[Process, ...]]] = None, **figures: Unpack[Figures]) -> Snapshot:
    """Return a snapshot of these processes, as take_snapshot() would."""
    told = Snapshot(clock, 1.8e9 + clock, clock, {each.pid: each for each in processes}, **figures)
    status, threads = status or {}, threads or {}
    told.zombies = [Zombie(each, status.get(each.pid, Status()), (), threads.get(each.pid, ()))
                    for each in processes if each.is_zombie]
    told.actors = {each.pid: Actor(each, status.get(each.pid, Status()), ())
                   for each in processes if not each.is_zombie}
    return told


INIT, APP = process(1, 0, "init"), process(10, 1, "app")
PAUSE = process(20, 1, "pause")


def zombies(parent: int, *pids: int, threads: int = 1, start: int = 0) -> list[Process]:
    """Return zombies with one parent."""
    return [process(pid, parent, state="Z", threads=threads, start=start) for pid in pids]


COMMANDS = {1: "/sbin/init", 10: "/bin/app --serve"}


def causes(now: Snapshot, before: Optional[Snapshot] = None) -> dict[int, str]:
    """Return the cause of each parent's zombies, by the parent's PID."""
    return {group.parent_pid: group.cause for group in make_report(now, before, []).groups}


INCIDENT = [INIT, APP, *zombies(10, *range(100, 400))]


def incident(threads_max: Optional[int] = 100_000) -> Report:
    """Return a report on 300 zombies that came in 1,000 s, 18 a minute."""
    now = snapshot(INCIDENT, tasks=30_000, pids=30_000, pid_max=32_768, threads_max=threads_max)
    return make_report(now, None, [Limit("/kubepods", 310, 400, frozenset({"/"}))])
