"""What /proc says at one moment, proc(5), of processes that may vanish while they are read."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Optional

from .containers import Cgroups, parse_cgroups, pids_path
from .files import read, read_number, read_or_nothing
from .growth import Tally

# A flag of the process in /proc/PID/stat: it is exiting (include/linux/sched.h).
PF_EXITING = 0x4

# signal(7) on x86, ARM and most others.
SIGCHLD = 17

# Seconds within which a parent that waits has waited, even on a loaded machine.
MOMENT = 0.1

# capabilities(7): whoever has CAP_SYS_ADMIN (21) or CAP_SYS_RESOURCE (24) may exceed RLIMIT_NPROC, setrlimit(2).
ABOVE_LIMITS = 1 << 21 | 1 << 24

# /proc/PID/stat counts from the boot in these.
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One line of /proc/PID/stat, and whose it is. `start` is in ticks after the boot, `threads` has the zombie leader
    of live threads in it; `uid` is the effective one.
    """

    pid: int
    parent: int
    name: str
    state: str
    flags: int
    threads: int
    start: int
    uid: int

    @property
    def is_zombie(self) -> bool:
        return self.state == "Z"

    @property
    def is_exiting(self) -> bool:
        return bool(self.flags & PF_EXITING)


class Status(NamedTuple):
    """What /proc/PID/status adds: who traces it, whether it is PID 1 of its PID namespace, what it does with SIGCHLD
    (default, ignored, caught or blocked), whether RLIMIT_NPROC does not bind it.
    """

    tracer: int = 0
    is_init: bool = False
    sigchld: str = "default"
    above_limits: bool = False


NOTHING_SPECIAL = Status()


class Actor(NamedTuple):
    """A process that decides what becomes of zombies: their parent, or PID 1 of a namespace that is torn down."""

    process: Process
    status: Status
    cgroups: Cgroups
    process_limit: Optional[int] = None


class Zombie(NamedTuple):
    """A zombie, and what its own files say of it; `threads_exiting` is whether all threads that it led are exiting."""

    process: Process
    status: Status
    cgroups: Cgroups
    threads_exiting: bool = True


@dataclass
class Snapshot:
    """All that was read. `clock` is time.monotonic(), `time` time.time(), `uptime` seconds after the boot; `tasks` is
    the number of tasks, threads and zombies included, on the whole machine.
    """

    clock: float
    time: float
    uptime: float
    processes: dict[int, Process] = field(default_factory=dict)
    zombies: list[Zombie] = field(default_factory=list)
    actors: dict[int, Actor] = field(default_factory=dict)
    unreadable: int = 0
    tasks: Optional[int] = None
    pid_max: Optional[int] = None
    threads_max: Optional[int] = None

    def seconds_since(self, start: int) -> float:
        """The age of a process that was started at that time; when it became a zombie the kernel does not say."""
        return max(0.0, self.uptime - start / TICKS_PER_SECOND)

    def cgroups_of(self, zombie: Zombie) -> Cgroups:
        """A zombie's cgroups: on cgroup v1 its parent's, as the kernel names the root for whatever is exiting."""
        if all(path == "/" for _, path in zombie.cgroups) and zombie.process.parent in self.actors:
            return self.actors[zombie.process.parent].cgroups
        return zombie.cgroups

    @cached_property
    def tallies(self) -> dict[tuple[tuple[str, bool], int], Tally]:
        """The zombies by the cgroup in which they are counted, as pids_path() tells it, and by user."""
        members: dict[tuple[Cgroups, int], list[int]] = {}
        for zombie in self.zombies:
            members.setdefault((self.cgroups_of(zombie), zombie.process.uid), []).append(zombie.process.start)
        found: dict[tuple[tuple[str, bool], int], Tally] = {}
        for (cgroups, uid), starts in members.items():
            key = pids_path(cgroups), uid
            found[key] = found.get(key, Tally()) + Tally(len(starts), self.seconds_since(min(starts)))
        return found

    def tally(self, cgroups: Optional[frozenset[str]] = None, uid: Optional[int] = None) -> Tally:
        """The zombies whose cgroup's path is one of these, or of any; of one user, or of all."""
        return sum((part for ((path, _), owner), part in self.tallies.items()
                    if (cgroups is None or path in cgroups) and uid in (None, owner)), Tally())

    def chain(self, pid: int) -> list[Process]:
        """A process and its ancestors, up to PID 1 or the first that is not to be seen."""
        found: list[Process] = []
        while pid in self.processes and self.processes[pid] not in found:
            found.append(self.processes[pid])
            pid = found[-1].parent
        return found


def take_snapshot(proc: str) -> Snapshot:
    """Read the folder `proc`, /proc or a host's mounted elsewhere. Raises OSError when it is no /proc."""
    snapshot = Snapshot(time.monotonic(), time.time(), float(read(f"{proc}/uptime").split()[0]))
    snapshot.tasks = parse_tasks(read(f"{proc}/loadavg"))
    snapshot.pid_max = read_number(f"{proc}/sys/kernel/pid_max")
    snapshot.threads_max = read_number(f"{proc}/sys/kernel/threads-max")
    read_processes(proc, snapshot)
    leave_out_reaped(proc, snapshot)
    read_zombies(proc, snapshot)
    parents = {zombie.process.parent for zombie in snapshot.zombies}
    for process in snapshot.processes.values():
        # PID 1 of a namespace that is torn down is exiting, and not yet a zombie.
        if process.pid in parents or process.is_exiting and not process.is_zombie:
            snapshot.actors[process.pid] = read_actor(proc, process)
    return snapshot


def read_processes(proc: str, snapshot: Snapshot) -> None:
    """Every process's line, into the snapshot."""
    for name in os.listdir(proc):
        if name.isdigit():
            try:
                process = parse_stat(read(f"{proc}/{name}/stat"), os.stat(f"{proc}/{name}").st_uid)
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            except (OSError, ValueError, IndexError):
                snapshot.unreadable += 1
                continue
            snapshot.processes[process.pid] = process


def leave_out_reaped(proc: str, snapshot: Snapshot) -> None:
    """Forget the zombies that are gone a moment later: each process that ends is one, until its parent has waited."""
    zombies = [process.pid for process in snapshot.processes.values() if process.is_zombie]
    if zombies:
        time.sleep(MOMENT)
    for pid in zombies:
        if not os.path.exists(f"{proc}/{pid}"):
            del snapshot.processes[pid]


def read_zombies(proc: str, snapshot: Snapshot) -> None:
    """What else there is to know of each zombie; one that was reaped meanwhile is no zombie any more."""
    for process in list(snapshot.processes.values()):
        if process.is_zombie:
            try:
                status = parse_zombie_status(read(f"{proc}/{process.pid}/status"))
                cgroups = parse_cgroups(read(f"{proc}/{process.pid}/cgroup"))
            except (FileNotFoundError, ProcessLookupError):
                del snapshot.processes[process.pid]
                continue
            except OSError:
                status, cgroups = Status(), ()
            exiting = process.threads == 1 or are_threads_exiting(f"{proc}/{process.pid}/task", process.pid)
            snapshot.zombies.append(Zombie(process, status, cgroups, exiting))


def are_threads_exiting(tasks: str, leader: int) -> bool:
    """Whether every thread beside the leader is on its way out; False if they are not to be seen."""
    try:
        threads = [parse_stat(read(f"{tasks}/{thread}/stat"), 0) for thread in os.listdir(tasks)]
    except OSError:
        return False
    return all(thread.is_exiting for thread in threads if thread.pid != leader)


def read_actor(proc: str, process: Process) -> Actor:
    """What else there is to know of a process; nothing where it has vanished or may not be read."""
    folder = f"{proc}/{process.pid}"
    # RLIMIT_NPROC does not bind root, setrlimit(2).
    limit = parse_process_limit(read_or_nothing(f"{folder}/limits")) if process.uid else None
    return Actor(process, parse_status(read_or_nothing(f"{folder}/status")),
                 parse_cgroups(read_or_nothing(f"{folder}/cgroup")), limit)


def read_command(proc: str, process: Process) -> str:
    """The command line of a process that a report names."""
    return parse_command(read_or_nothing(f"{proc}/{process.pid}/cmdline"), process.name)


def decode(text: bytes) -> str:
    """Text from a process, which may be any bytes; kept once, as names repeat."""
    return sys.intern(text.decode("utf-8", "backslashreplace"))


def parse_stat(line: bytes, uid: int) -> Process:
    """/proc/PID/stat: PID (name) state parent ...; the name may hold anything, parentheses and newlines as well.

    Raises ValueError or IndexError when it is no such line.
    """
    start, _, rest = line.rpartition(b")")
    pid, _, name = start.partition(b"(")
    fields = rest.split()
    return Process(int(pid), int(fields[1]), decode(name), decode(fields[0]), int(fields[6]), int(fields[17]),
                   int(fields[19]), uid)


def parse_status(text: bytes) -> Status:
    """/proc/PID/status; what is not there, as on older kernels, is at its default."""
    capabilities = int(find_field(text, b"CapEff") or b"0", 16)
    return Status(int(find_field(text, b"TracerPid") or b"0"), is_namespace_init(text), describe_sigchld(text),
                  bool(capabilities & ABOVE_LIMITS))


def parse_zombie_status(text: bytes) -> Status:
    """The same for a zombie, of which the rest says nothing any more; there may be tens of thousands."""
    tracer, is_init = int(find_field(text, b"TracerPid") or b"0"), is_namespace_init(text)
    return Status(tracer, is_init) if tracer or is_init else NOTHING_SPECIAL


def is_namespace_init(text: bytes) -> bool:
    """NSpid has its PIDs from the namespace of this /proc to its own; before Linux 4.1 there is Pid alone."""
    return (find_field(text, b"NSpid") or find_field(text, b"Pid")).split()[-1:] == [b"1"]


def find_field(text: bytes, name: bytes) -> bytes:
    """The value of one field of /proc/PID/status, b"" if it is not there. No value has a newline in it: those of the
    name are written as \\n.
    """
    start = text.find(b"\n" + name + b":\t")
    return text[start + len(name) + 3:text.index(b"\n", start + 1)] if start >= 0 else b""


def describe_sigchld(text: bytes) -> str:
    """What the process does with SIGCHLD; blocked comes first, as it may be taken by sigwait(3)."""
    for name, word in ((b"SigBlk", "blocked"), (b"SigCgt", "caught"), (b"SigIgn", "ignored")):
        if int(find_field(text, name) or b"0", 16) >> (SIGCHLD - 1) & 1:
            return word
    return "default"


def parse_command(cmdline: bytes, name: str) -> str:
    """/proc/PID/cmdline as a line; a zombie or a kernel thread has none, and is named as ps(1) names it."""
    return decode(cmdline.rstrip(b"\0").replace(b"\0", b" ")).strip() or f"[{name}]"


def parse_process_limit(limits: bytes) -> Optional[int]:
    """RLIMIT_NPROC, the soft limit, from /proc/PID/limits; None when there is none."""
    for line in limits.splitlines():
        if line.startswith(b"Max processes"):
            soft = line[len(b"Max processes"):].split()[0]
            return int(soft) if soft.isdigit() else None
    return None


def parse_tasks(loadavg: bytes) -> Optional[int]:
    """The number of tasks on the machine, zombies and threads included, from /proc/loadavg."""
    running, slash, total = loadavg.split()[3].partition(b"/")
    return int(total) if slash else None
