"""What /proc says at one moment, proc(5), of processes that may vanish while they are read."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import lru_cache
from signal import SIGCHLD
from typing import NamedTuple, Optional

from .containers import Cgroups, parse_cgroups
from .files import read, read_number, read_or_nothing

# A flag of the process in /proc/PID/stat: it is exiting (include/linux/sched.h).
PF_EXITING = 0x4

# The inode of the PID namespace that every machine begins with, <linux/proc_ns.h>.
INITIAL_PID_NAMESPACE = "pid:[4026531836]"

# <linux/pid.h>: kept for those that were there first.
RESERVED_PIDS = 300

# user_namespaces(7): the uid_map of whoever is in no user namespace of its own.
ALL_USERS = [b"0", b"0", b"4294967295"]

# Of a command line, what a line of a report can show.
COMMAND_SIZE = 4096

# Seconds within which a parent that waits has waited, even on a loaded machine.
MOMENT = 0.1

# capabilities(7): whoever has CAP_SYS_ADMIN (21) or CAP_SYS_RESOURCE (24) may exceed RLIMIT_NPROC, setrlimit(2).
ABOVE_LIMITS = 1 << 21 | 1 << 24

# /proc/PID/stat counts from the boot in these.
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """One line of /proc/PID/stat, or of a thread's. `start` is in ticks after the boot; `threads` has the leader in it.
    """

    pid: int
    parent: int
    name: str
    state: str
    flags: int
    threads: int
    start: int

    @property
    def is_zombie(self) -> bool:
        """Whether it has exited and was not waited for."""
        return self.state == "Z"

    @property
    def is_exiting(self) -> bool:
        """Whether it is on its way out."""
        return bool(self.flags & PF_EXITING)


class Status(NamedTuple):
    """What /proc/PID/status adds: its real user, who traces it, whether it is PID 1 of its PID namespace, what it does
    with SIGCHLD (default, ignored, caught or blocked), whether it has a capability by which RLIMIT_NPROC does not bind.
    """

    uid: int = 0
    tracer: int = 0
    is_init: bool = False
    sigchld: str = "default"
    above_limits: bool = False


NOTHING_SPECIAL = Status()


class Actor(NamedTuple):
    """A process that decides what becomes of zombies: their parent, or PID 1 of a namespace that is torn down.
    `process_limit` is the RLIMIT_NPROC that binds it.
    """

    process: Process
    status: Status
    cgroups: Cgroups
    process_limit: Optional[int] = None


class Zombie(NamedTuple):
    """A zombie, and what its own files say of it; `threads` are those that it leads, itself left out."""

    process: Process
    status: Status
    cgroups: Cgroups
    threads: tuple[Process, ...] = ()


@dataclass
class Snapshot:
    """All that was read. `clock` is time.monotonic(), `time` time.time(), `uptime` seconds after the boot. `pids` are
    in use of `pid_max`, in the PID namespace `pid_scope` ("" for the machine's), `tasks` of `threads_max`; zombies and
    threads are among both. `users` has the number of tasks of each user whom RLIMIT_NPROC binds; `actors_unread` counts
    the actors whose own limit could not be read.
    """

    clock: float
    time: float
    uptime: float
    processes: dict[int, Process] = field(default_factory=dict)
    zombies: list[Zombie] = field(default_factory=list)
    actors: dict[int, Actor] = field(default_factory=dict)
    users: dict[int, int] = field(default_factory=dict)
    unreadable: int = 0
    actors_unread: int = 0
    pids: Optional[int] = None
    pid_max: Optional[int] = None
    pid_scope: str = ""
    tasks: Optional[int] = None
    threads_max: Optional[int] = None

    @property
    def is_partial(self) -> bool:
        """Whether processes are hidden: there is a PID 1 in each PID namespace, but hidepid shows only one's own."""
        return 1 not in self.processes or self.unreadable > 0

    def seconds_since(self, start: int) -> float:
        """The age of a process that was started at that time; when it became a zombie the kernel does not say."""
        return max(0.0, self.uptime - start / TICKS_PER_SECOND)

    def cgroups_of(self, zombie: Zombie) -> Cgroups:
        """A zombie's cgroups, on cgroup v1 its parent's: there the kernel names the root for whatever has exited."""
        parent = self.actors.get(zombie.process.parent)
        old = [path for controllers, path in zombie.cgroups if controllers]
        if not parent or not old or any(path != "/" for path in old):
            return zombie.cgroups
        return (*(line for line in zombie.cgroups if not line[0]), *(line for line in parent.cgroups if line[0]))

    def chain(self, pid: int) -> list[Process]:
        """A process and its ancestors, up to PID 1 or the first that is not to be seen."""
        found: dict[int, Process] = {}
        while pid in self.processes and pid not in found:
            found[pid] = self.processes[pid]
            pid = found[pid].parent
        return list(found.values())


def take_snapshot(proc: str) -> Snapshot:
    """Read the folder `proc`, /proc or a host's mounted elsewhere. Raises OSError; ValueError when it is no /proc."""
    snapshot = Snapshot(time.monotonic(), time.time(), parse_number(read_or_nothing(f"{proc}/uptime")))
    read_processes(proc, snapshot)
    if not snapshot.processes and not snapshot.unreadable:
        raise ValueError(proc)
    # Missing with the mount option subset=pid, and in a container it may be that of the container, as with lxcfs.
    if snapshot.uptime < max((process.start for process in snapshot.processes.values()), default=0) / TICKS_PER_SECOND:
        snapshot.uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    read_zombies(proc, snapshot)
    parents = {zombie.process.parent for zombie in snapshot.zombies}
    for process in snapshot.processes.values():
        # PID 1 of a namespace that is torn down is exiting, and not yet a zombie.
        if process.pid in parents or process.is_exiting and not process.is_zombie:
            read_actor(proc, process, snapshot)
    read_counts(proc, snapshot)
    return snapshot


def read_processes(proc: str, snapshot: Snapshot) -> None:
    """Every process's line, into the snapshot."""
    for name in os.listdir(proc):
        if name.isdigit():
            try:
                process = parse_stat(read(f"{proc}/{name}/stat"))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
            except (OSError, ValueError, IndexError):
                snapshot.unreadable += 1
                continue
            snapshot.processes[process.pid] = process


def read_zombies(proc: str, snapshot: Snapshot) -> None:
    """What else there is to know of each zombie. Each process that ends is one until its parent has waited: those that
    are gone a moment later were none that stays.
    """
    found = [process for process in snapshot.processes.values() if process.is_zombie]
    if found:
        time.sleep(MOMENT)
    for process in found:
        folder = f"{proc}/{process.pid}"
        try:
            status = parse_zombie_status(read(f"{folder}/status"))
        except (FileNotFoundError, ProcessLookupError):
            del snapshot.processes[process.pid]
            continue
        except OSError:
            status = NOTHING_SPECIAL
        threads = read_threads(f"{folder}/task", process.pid) if process.threads > 1 else ()
        snapshot.zombies.append(Zombie(process, status, parse_cgroups(read_or_nothing(f"{folder}/cgroup")), threads))


def read_threads(tasks: str, leader: int) -> tuple[Process, ...]:
    """The threads of a process but for its leader; none if they are not to be seen."""
    try:
        others = [thread for thread in os.listdir(tasks) if thread != str(leader)]
        return tuple(parse_stat(read(f"{tasks}/{thread}/stat")) for thread in others)
    except OSError:
        return ()


def read_actor(proc: str, process: Process, snapshot: Snapshot) -> None:
    """What else there is to know of a process that may have to wait; nothing if it has ended meanwhile."""
    folder = f"{proc}/{process.pid}"
    limit = None
    try:
        status = parse_status(read(f"{folder}/status"))
        # RLIMIT_NPROC does not bind root, nor who has one of two capabilities, setrlimit(2): of the machine, not of a
        # user namespace of its own, user_namespaces(7).
        if status.uid and not (status.above_limits and read_or_nothing(f"{folder}/uid_map").split() == ALL_USERS):
            limit = parse_process_limit(read(f"{folder}/limits"))
    except (FileNotFoundError, ProcessLookupError):
        return
    except OSError:
        snapshot.actors_unread += 1
        return
    cgroups = parse_cgroups(read_or_nothing(f"{folder}/cgroup"))
    snapshot.actors[process.pid] = Actor(process, status, cgroups, limit)


def read_counts(proc: str, snapshot: Snapshot) -> None:
    """What is used of the limits, and those of the machine."""
    snapshot.tasks = parse_tasks(read_or_nothing(f"{proc}/loadavg"))
    snapshot.threads_max = read_number(f"{proc}/sys/kernel/threads-max")
    pid_max = read_number(f"{proc}/sys/kernel/pid_max")
    if pid_max is not None:
        snapshot.pid_max = usable_pids(pid_max, snapshot.processes)
        count_pids(proc, snapshot)
    bound = {actor.status.uid for actor in snapshot.actors.values() if actor.process_limit is not None}
    for process in snapshot.processes.values() if bound else ():
        try:
            uid = os.stat(f"{proc}/{process.pid}").st_uid
        except OSError:
            continue
        if uid in bound:
            snapshot.users[uid] = snapshot.users.get(uid, 0) + process.threads


def count_pids(proc: str, snapshot: Snapshot) -> None:
    """How many PIDs are in use of those that kernel.pid_max limits: of the whole machine; from Linux 6.14 on each PID
    namespace has a limit of its own, and the file shows the reader's, whose processes may not be those in sight.
    """
    try:
        of_machine = os.readlink("/proc/self/ns/pid") == INITIAL_PID_NAMESPACE
        of_own = os.readlink(f"{proc}/self") == str(os.getpid())
    except OSError:
        of_machine, of_own = True, True
    if of_machine or kernel_version() < (6, 14):
        snapshot.pids = snapshot.tasks
    elif of_own:
        snapshot.pids = sum(process.threads for process in snapshot.processes.values())
        snapshot.pid_scope = "this PID namespace"


def usable_pids(pid_max: int, processes: Collection[int]) -> int:
    """How many PIDs there can be: once the numbers have gone round, none below RESERVED_PIDS is given out any more."""
    return max(0, pid_max - RESERVED_PIDS) + sum(pid < RESERVED_PIDS for pid in processes)


def kernel_version() -> tuple[int, ...]:
    """The running kernel's, such as (6, 14)."""
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def read_command(proc: str, process: Process) -> str:
    """The command line of a process that a report names."""
    return parse_command(read_or_nothing(f"{proc}/{process.pid}/cmdline")[:COMMAND_SIZE], process.name)


def decode(text: bytes) -> str:
    """Text from a process, which may be any bytes; kept once, as names repeat."""
    return sys.intern(text.decode("utf-8", "backslashreplace"))


def parse_stat(line: bytes) -> Process:
    """/proc/PID/stat: PID (name) state parent ...; the name may hold anything, parentheses and newlines as well.

    Raises ValueError or IndexError when it is no such line.
    """
    start, _, rest = line.rpartition(b")")
    pid, _, name = start.partition(b"(")
    fields = rest.split()
    return Process(int(pid), int(fields[1]), decode(name), decode(fields[0]), int(fields[6]), int(fields[17]),
                   int(fields[19]))


def parse_status(text: bytes) -> Status:
    """/proc/PID/status; what is not there, as on older kernels, is at its default."""
    capabilities = int(find_field(text, b"CapEff") or b"0", 16)
    return parse_zombie_status(text)._replace(sigchld=describe_sigchld(text),
                                              above_limits=bool(capabilities & ABOVE_LIMITS))


@lru_cache(maxsize=1024)
def make_status(uid: bytes, tracer: bytes, is_init: bool) -> Status:
    """A zombie's status; kept, as most are alike."""
    return Status(int((uid or b"0").split()[0]), int(tracer or b"0"), is_init)


def parse_zombie_status(text: bytes) -> Status:
    """The same for a zombie, of which the rest says nothing any more; there may be tens of thousands."""
    return make_status(find_field(text, b"Uid"), find_field(text, b"TracerPid"), is_namespace_init(text))


def is_namespace_init(text: bytes) -> bool:
    """NSpid has its PIDs from the namespace of this /proc to its own; before Linux 4.1 there is Pid alone."""
    return (find_field(text, b"NSpid") or find_field(text, b"Pid")).split()[-1:] == [b"1"]


def find_field(text: bytes, name: bytes) -> bytes:
    """The value of one field of /proc/PID/status, b"" if it is not there. No value has a newline in it: those of the
    name are written as \\n.
    """
    start = text.find(b"\n" + name + b":\t")
    if start < 0:
        return b""
    start += len(name) + 3
    end = text.find(b"\n", start)
    return text[start:end] if end >= 0 else text[start:]


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
    """The number of tasks on the machine, zombies and threads included, from /proc/loadavg; None if it is not there."""
    total = loadavg.partition(b"/")[2].split()
    return int(total[0]) if total else None


def parse_number(text: bytes) -> float:
    """The first number of a file such as /proc/uptime; 0 if it is not there."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return 0.0
