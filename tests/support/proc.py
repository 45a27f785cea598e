"""Read the state of processes from /proc, proc(5)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from pyinit.linux import procfs
from support.waiting import wait_until


def read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on, or [] if there is no such process."""
    try:
        return procfs.read_stat(pid)
    except OSError:
        return []


def read_status(pid: int) -> dict[str, str]:
    """Return the fields of /proc/PID/status, or {} if there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def read_cmdline(pid: int) -> bytes:
    """Return the command line of a process, or b"" if there is no such process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def is_blocked(pid: int, number: int) -> bool:
    """Say whether a process blocks a signal or waits in sigwait(3), where the kernel shows no signal as blocked."""
    return bool(int(read_status(pid).get("SigBlk", "0"), 16) >> (number - 1) & 1) or waits_for_signals(pid)


def waits_for_signals(pid: int) -> bool:
    """Say whether a process sleeps in sigwait(3)."""
    return "sigtimedwait" in waits_in(pid)


def sleeps(pid: int) -> bool:
    """Say whether a process sleeps and has left its CPU: it is in state S an instant before that."""
    return read_stat(pid)[:1] == ["S"] and waits_in(pid) not in ("", "0")


def pending_signals(pid: int) -> int:
    """Return the pending signals of a process, proc(5), with bit N - 1 for signal N."""
    return int(read_status(pid)["ShdPnd"], 16)


def wait_until_idle(pid: int) -> None:
    """Wait until a process has taken every signal and sleeps again."""
    wait_until(lambda: not pending_signals(pid) and sleeps(pid), f"{pid} to be idle")


def wait_for_stop_of(child: int, init: int) -> None:
    """Wait until a child has stopped and its init has learnt it and waits again.

    A process is in state T before it raises the SIGCHLD for that, so raise one more.
    """
    wait_until(lambda: read_stat(child)[0] == "T", "the child to stop")
    os.kill(init, signal.SIGCHLD)
    wait_until(lambda: not pending_signals(init) and waits_for_signals(init), "the init to have learnt it")


def waits_in(pid: int) -> str:
    """Return the kernel function in which a process sleeps, wchan of proc(5), or "" if it runs or does not exist."""
    try:
        return Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return ""


def stop(pid: int) -> None:
    """Stop a process until SIGCONT, as a used-up CPU quota would."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: read_stat(pid)[0] == "T", "it to stop")


def open_files(pid: int) -> dict[int, str]:
    """Return the target of each open descriptor of a process, by its number."""
    return {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}


def children_of(pid: int) -> list[int]:
    """Return the children of a process's first thread, oldest first, zombies included; [] if there is no process."""
    try:
        return procfs.list_children(pid)
    except OSError:
        return []


def descendants(pid: int) -> list[int]:
    """Return every descendant of a process, zombies included."""
    found = children_of(pid)
    for child in found:  # the loop also visits those that it adds
        found += children_of(child)
    return found


def zombies_of(pid: int) -> list[int]:
    """Return the children of a process that have exited and have not been reaped."""
    return [child for child in children_of(pid) if read_stat(child)[:1] == ["Z"]]


def free_user() -> str:
    """Return the ID of a user without a process, another one for another test run: RLIMIT_NPROC counts by user."""
    taken = {owner_of(pid) for pid in procfs.list_processes()}
    first = 20_000 + os.getpid() % 40_000
    return str(next(user for user in range(first, first + 5000) if user not in taken))


def owner_of(pid: int) -> int:
    """Return the effective user ID of a process, or -1 if there is no such process."""
    try:
        return os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return -1


def session_members(session: int) -> list[int]:
    """Return the processes of a session that have not ended."""
    # getsid(2) first: it costs a hundredth of reading /proc/PID/stat, and most processes are in other sessions.
    stats = ((pid, read_stat(pid)) for pid in procfs.list_processes() if session_of(pid) == session)
    return [pid for pid, stat in stats if stat and stat[0] not in "ZX"]


def session_of(pid: int) -> int:
    """Return the session of a process, or 0 if there is no such process."""
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
