"""Reading /proc, proc(5), of processes that may vanish at any moment."""

from __future__ import annotations

import os
import time


def read(path: str) -> str:
    """A file of /proc, whole. Raises OSError."""
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def read_status(pid: int) -> dict[str, str]:
    """/proc/PID/status as a dictionary. Raises OSError."""
    return dict(line.split(":", 1) for line in read(f"/proc/{pid}/status").splitlines() if ":" in line)


def read_state(pid: int) -> str:
    """The letter of a process's state: R, S, D, Z and others; "" when it is gone."""
    try:
        return read(f"/proc/{pid}/stat").rpartition(")")[2].split()[0]
    except OSError:
        return ""


def read_cpu(pid: int) -> int:
    """CPU time of all threads so far, user and system, in nanoseconds, from the scheduler's own account."""
    return sum(int(read(f"/proc/{pid}/task/{thread}/schedstat").split()[0])
               for thread in os.listdir(f"/proc/{pid}/task"))


def read_switches(pid: int) -> int:
    """Context switches of all threads so far, voluntary and not."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        status = dict(line.split(":", 1) for line in read(f"/proc/{pid}/task/{thread}/status").splitlines()
                      if ":" in line)
        total += int(status["voluntary_ctxt_switches"]) + int(status["nonvoluntary_ctxt_switches"])
    return total


def list_children(pid: int) -> list[int]:
    """The PIDs of a process's children, zombies included. Raises OSError when it is gone."""
    try:
        return [int(child) for child in read(f"/proc/{pid}/task/{pid}/children").split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or gone
        os.stat(f"/proc/{pid}")
        return [child for child in list_processes() if read_parent(child) == pid]


def list_processes() -> list[int]:
    """All PIDs."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def read_parent(pid: int) -> int:
    """The parent's PID; 0 when the process is gone."""
    try:
        return int(read(f"/proc/{pid}/stat").rpartition(")")[2].split()[1])
    except OSError:
        return 0


def count_zombies(pid: int) -> int:
    """The children of a process that have exited and are not waited for."""
    return sum(read_state(child) == "Z" for child in list_children(pid))


class ZombieWatch:
    """Counts the zombies of a process again and again; a child is asked for its state until it is one."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.known: set[int] = set()
        self.most = 0

    def count(self) -> int:
        """How many there are now. Raises OSError when the process is gone."""
        children = set(list_children(self.pid))
        self.known &= children
        self.known.update(child for child in children - self.known if read_state(child) == "Z")
        self.most = max(self.most, len(self.known))
        return len(self.known)


def blocks_or_catches(pid: int, number: int) -> bool:
    """Whether a signal would reach the process even if it is PID 1: blocked, so that it stays pending, or caught.

    Inside sigtimedwait(2) the signals that are waited for are shown as not blocked; the kernel keeps them all the same.
    """
    status = read_status(pid)
    return bool((int(status["SigBlk"], 16) | int(status["SigCgt"], 16)) >> (number - 1) & 1) or waits_for_signal(pid)


def waits_for_signal(pid: int) -> bool:
    """Whether the process is inside sigtimedwait(2), as sigwait(3) and sigwaitinfo(2) are as well."""
    try:
        return "sigtimedwait" in read(f"/proc/{pid}/wchan")
    except OSError:
        return False


def ignores(pid: int, number: int) -> bool:
    """Whether the process has set the signal to ignored."""
    return bool(int(read_status(pid)["SigIgn"], 16) >> (number - 1) & 1)


def read_memory(pid: int) -> dict[str, int]:
    """Fields of smaps_rollup in bytes: Rss, Pss, Private_Dirty and others."""
    fields = {}
    for line in read(f"/proc/{pid}/smaps_rollup").splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * 1024
    return fields


def wait_settled(pid: int, quiet: float = 0.02, patience: float = 10.0) -> bool:
    """Wait until a process has used no CPU for `quiet` seconds; False if it ends or `patience` seconds pass first."""
    deadline = time.monotonic() + patience
    before = -1
    while time.monotonic() < deadline:
        try:
            now = read_cpu(pid)
        except OSError:
            return False
        state = read_state(pid)
        if state in ("Z", "X", ""):
            return False
        if now == before and state not in ("R", "D"):
            return True
        before = now
        time.sleep(quiet)
    return False
