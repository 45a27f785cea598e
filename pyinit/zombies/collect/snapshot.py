"""Read /proc, proc(5), at one moment. Processes may end while they are read."""

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

from ...linux.procfs import find_field, list_processes, split_stat
from .containers import Cgroups, parse_cgroups
from .files import read, read_number, read_or_nothing, read_start

# The flag in /proc/PID/stat of a process that is exiting (include/linux/sched.h).
PF_EXITING = 0x4

# The initial PID namespace has the same inode on every machine, <linux/proc_ns.h>.
INITIAL_PID_NAMESPACE = "pid:[4026531836]"

# <linux/pid.h>: once PIDs have wrapped around, the kernel gives out none below this number.
RESERVED_PIDS = 300

# user_namespaces(7): the uid_map of a process in the initial user namespace.
ALL_USERS = [b"0", b"0", b"4294967295"]

# How many bytes of a command line are read: a report shows no more.
COMMAND_SIZE = 4096

# Seconds within which a parent that waits has reaped a zombie, even on a loaded machine.
MOMENT = 0.1

# capabilities(7): CAP_SYS_ADMIN (21) or CAP_SYS_RESOURCE (24) lets a process exceed RLIMIT_NPROC, setrlimit(2).
ABOVE_LIMITS = 1 << 21 | 1 << 24

# /proc/PID/stat has start times in ticks after the boot.
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Process(NamedTuple):
    """A process or a thread, from its stat file. `start` is in ticks after the boot; `threads` includes the leader."""

    pid: int
    parent: int
    name: str
    state: str
    flags: int
    threads: int
    start: int

    @property
    def is_zombie(self) -> bool:
        """Whether it has exited and has not been reaped."""
        return self.state == "Z"

    @property
    def is_exiting(self) -> bool:
        """Whether it is exiting; a zombie is, too."""
        return bool(self.flags & PF_EXITING)


class Status(NamedTuple):
    """What /proc/PID/status adds: the real UID, the PID of the tracer (0 for none), whether the process is PID 1 of its
    PID namespace, what it does with SIGCHLD (default, ignored, caught or blocked), and whether it has a capability that
    lets it exceed RLIMIT_NPROC.
    """

    uid: int = 0
    tracer: int = 0
    is_init: bool = False
    sigchld: str = "default"
    above_limits: bool = False


NOTHING_SPECIAL = Status()


class Actor(NamedTuple):
    """A process that decides what becomes of zombies: their parent, or PID 1 of a namespace that is torn down.
    `process_limit` is the RLIMIT_NPROC that binds it, or None.
    """

    process: Process
    status: Status
    cgroups: Cgroups
    process_limit: Optional[int] = None


class Zombie(NamedTuple):
    """A zombie, as its own files describe it. `threads` are those that it leads, without itself."""

    process: Process
    status: Status
    cgroups: Cgroups
    threads: tuple[Process, ...] = ()


@dataclass
class Snapshot:
    """Everything that was read.

    `clock` is time.monotonic(), `time` is time.time(), and `uptime` is in seconds after the boot. `pids` of `pid_max`
    PIDs are in use in the PID namespace `pid_scope` ("" for the machine's), and `tasks` of `threads_max`; both counts
    include zombies and threads. `users` maps each UID that RLIMIT_NPROC binds to its number of tasks. `unreadable`
    counts the processes that could not be read, and `actors_unread` the actors whose own limit could not be read.
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
        """Whether processes are hidden. Every PID namespace has a PID 1, but hidepid shows only the reader's processes.
        """
        return 1 not in self.processes or self.unreadable > 0

    def seconds_since(self, start: int) -> float:
        """Return the age in seconds of a process that started at `start`, in ticks after the boot. The kernel does not
        record when it became a zombie.
        """
        return max(0.0, self.uptime - start / TICKS_PER_SECOND)

    def cgroups_of(self, zombie: Zombie) -> Cgroups:
        """Return a zombie's cgroups. On cgroup v1 return its parent's: there the kernel names the root for every
        process that has exited.
        """
        parent = self.actors.get(zombie.process.parent)
        old = [path for controllers, path in zombie.cgroups if controllers]
        if not parent or not old or any(path != "/" for path in old):
            return zombie.cgroups
        return (*(line for line in zombie.cgroups if not line[0]), *(line for line in parent.cgroups if line[0]))

    def chain(self, pid: int) -> list[Process]:
        """Return a process and its ancestors, up to PID 1 or the last one that is visible."""
        found: dict[int, Process] = {}
        while pid in self.processes and pid not in found:
            found[pid] = self.processes[pid]
            pid = found[pid].parent
        return list(found.values())


def take_snapshot(proc: str) -> Snapshot:
    """Read the folder `proc`: /proc, or a host's mounted elsewhere. Raises OSError; ValueError if it is no /proc."""
    snapshot = Snapshot(time.monotonic(), time.time(), parse_number(read_or_nothing(f"{proc}/uptime")))
    read_processes(proc, snapshot)
    if not snapshot.processes and not snapshot.unreadable:
        raise ValueError(proc)
    # The mount option subset=pid hides the file. In a container it may show the container's uptime, as with lxcfs.
    if snapshot.uptime < max((process.start for process in snapshot.processes.values()), default=0) / TICKS_PER_SECOND:
        snapshot.uptime = time.clock_gettime(time.CLOCK_BOOTTIME)
    read_zombies(proc, snapshot)
    parents = {zombie.process.parent for zombie in snapshot.zombies}
    for process in snapshot.processes.values():
        # PID 1 of a PID namespace that is torn down is exiting, but not yet a zombie.
        if process.pid in parents or process.is_exiting and not process.is_zombie:
            read_actor(proc, process, snapshot)
    read_counts(proc, snapshot)
    return snapshot


def read_processes(proc: str, snapshot: Snapshot) -> None:
    """Read the stat file of every process into the snapshot."""
    for pid in list_processes(proc):
        try:
            process = parse_stat(read(f"{proc}/{pid}/stat"))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        except (OSError, ValueError, IndexError):
            snapshot.unreadable += 1
            continue
        snapshot.processes[process.pid] = process


def read_zombies(proc: str, snapshot: Snapshot) -> None:
    """Read the status, cgroups and threads of each zombie into the snapshot.

    Every process that ends is a zombie until its parent waits. Zombies that are gone after MOMENT were only waiting to
    be reaped: remove them from the snapshot.
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
    """Return the threads of a process without its leader, or () if they cannot be read."""
    try:
        others = [thread for thread in os.listdir(tasks) if thread != str(leader)]
        return tuple(parse_stat(read(f"{tasks}/{thread}/stat")) for thread in others)
    except OSError:
        return ()


def read_actor(proc: str, process: Process, snapshot: Snapshot) -> None:
    """Read the status, cgroups and limit of an actor into the snapshot. If it has ended, do nothing."""
    folder = f"{proc}/{process.pid}"
    limit = None
    try:
        status = parse_status(read(f"{folder}/status"))
        # RLIMIT_NPROC does not bind root, nor a process with a capability of ABOVE_LIMITS, setrlimit(2). Capabilities
        # in a user namespace of its own do not count, user_namespaces(7).
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
    """Read the limits of the machine, and how much of each limit is used, into the snapshot."""
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
    """Count the PIDs in use that kernel.pid_max limits. The count stays None if it is unknown.

    The limit is that of the whole machine. From Linux 6.14 on each PID namespace has its own limit. The file then shows
    the limit of the reader's namespace, and `proc` may show the processes of another.
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
    """Return how many PIDs there can be. Below RESERVED_PIDS only those in use count: once PIDs have wrapped around,
    the kernel gives out none of them.
    """
    return max(0, pid_max - RESERVED_PIDS) + sum(pid < RESERVED_PIDS for pid in processes)


def kernel_version() -> tuple[int, ...]:
    """Return the version of the running kernel, such as (6, 14)."""
    return tuple(int(number) for number in re.findall(r"\d+", os.uname().release)[:2])


def read_command(proc: str, process: Process) -> str:
    """Return the command line of a process that a report names."""
    # A process can make this file gigabytes long, prctl(2) PR_SET_MM_MAP.
    return parse_command(read_start(f"{proc}/{process.pid}/cmdline", COMMAND_SIZE), process.name)


def decode(text: bytes) -> str:
    """Decode text from a process, which may be any bytes. The result is interned, because names repeat."""
    return sys.intern(text.decode("utf-8", "backslashreplace"))


def parse_stat(line: bytes) -> Process:
    """Parse a line of /proc/PID/stat. Raises ValueError or IndexError if it is no such line."""
    name, fields = split_stat(line)
    return Process(int(line.partition(b"(")[0]), int(fields[1]), decode(name), sys.intern(fields[0]), int(fields[6]),
                   int(fields[17]), int(fields[19]))


def parse_status(text: bytes) -> Status:
    """Parse /proc/PID/status. A field that is missing, as on older kernels, gets its default."""
    capabilities = int(find_field(text, b"CapEff") or b"0", 16)
    return parse_zombie_status(text)._replace(sigchld=describe_sigchld(text),
                                              above_limits=bool(capabilities & ABOVE_LIMITS))


@lru_cache(maxsize=1024)
def make_status(uid: bytes, tracer: bytes, is_init: bool) -> Status:
    """Return a zombie's status. The result is cached, because most are alike."""
    return Status(int((uid or b"0").split()[0]), int(tracer or b"0"), is_init)


def parse_zombie_status(text: bytes) -> Status:
    """Parse /proc/PID/status of a zombie. The fields that are left out say nothing of a zombie, and there may be tens
    of thousands of zombies.
    """
    return make_status(find_field(text, b"Uid"), find_field(text, b"TracerPid"), is_namespace_init(text))


def is_namespace_init(text: bytes) -> bool:
    """Return whether a process is PID 1 of its PID namespace. NSpid lists its PIDs from the namespace of this /proc to
    its own; before Linux 4.1 there is only Pid.
    """
    return (find_field(text, b"NSpid") or find_field(text, b"Pid")).split()[-1:] == [b"1"]


def describe_sigchld(text: bytes) -> str:
    """Return what a process does with SIGCHLD. Blocked comes first, because sigwait(3) may take a blocked signal."""
    for name, word in ((b"SigBlk", "blocked"), (b"SigCgt", "caught"), (b"SigIgn", "ignored")):
        if int(find_field(text, name) or b"0", 16) >> (SIGCHLD - 1) & 1:
            return word
    return "default"


def parse_command(cmdline: bytes, name: str) -> str:
    """Return /proc/PID/cmdline as one line, or `[name]` as ps(1) does for a zombie or kernel thread, which has none."""
    return decode(cmdline.rstrip(b"\0").replace(b"\0", b" ")).strip() or f"[{name}]"


def parse_process_limit(limits: bytes) -> Optional[int]:
    """Return the soft limit RLIMIT_NPROC from /proc/PID/limits, or None if it is unlimited."""
    for line in limits.splitlines():
        if line.startswith(b"Max processes"):
            soft = line[len(b"Max processes"):].split()[0]
            return int(soft) if soft.isdigit() else None
    return None


def parse_tasks(loadavg: bytes) -> Optional[int]:
    """Return the number of tasks on the machine from /proc/loadavg, zombies and threads included; None for no text."""
    total = loadavg.partition(b"/")[2].split()
    return int(total[0]) if total else None


def parse_number(text: bytes) -> float:
    """Return the first number of a file such as /proc/uptime, or 0 if it holds no number."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return 0.0
