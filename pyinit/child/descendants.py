"""Every process that pyinit answers for, and sending to all of them; loaded when asked for."""

from __future__ import annotations

import posix

from ..linux.files import read_file


def send_to_all(number: int) -> bool:
    """Send a signal to everything in pyinit's PID namespace if it is PID 1 of that, else to all its descendants.

    Returns False when those cannot be found. kill(2) with -1 spares the sender, and as PID 1 reaches nothing outside,
    pid_namespaces(7).
    """
    if posix.getpid() == 1:
        try:
            posix.kill(-1, number)
        except OSError:
            pass  # ESRCH: no other process; EPERM: another user's process
        return True
    if not has_own_proc():
        return False
    for pid in descendants(posix.getpid()):
        try:
            posix.kill(pid, number)
        except OSError:
            pass  # ESRCH: it has just ended; EPERM: it is another user's
    return True


def has_own_proc() -> bool:
    """Whether /proc shows pyinit's PID namespace: in that of another one its numbers are other processes, proc(5)."""
    try:
        return posix.readlink("/proc/self") == str(posix.getpid())
    except OSError:
        return False


def has_strangers() -> bool:
    """Whether, as PID 1, pyinit is not alone in its PID namespace; asked when it has no child left.

    `podman exec` puts processes there from outside, setns(2). The kernel tells their parent of their end, not pyinit.
    """
    if posix.getpid() != 1:
        return False
    try:
        posix.kill(-1, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def descendants(ancestor: int) -> list[int]:
    """The PIDs of a process's descendants, parents before children; empty without /proc.

    Zombies are among them: a process whose first thread has ended shows as one, and its other threads run.
    """
    children: dict[int, list[int]] = {}
    try:
        names = posix.listdir("/proc")
    except OSError:
        return []
    for name in names:
        if name.isdigit():
            try:
                # PID (command) state parent ...; the command may hold anything, parentheses as well, proc(5).
                parent = read_file(f"/proc/{name}/stat").rpartition(b")")[2].split()[1]
            except (OSError, IndexError):
                continue  # it has just ended
            children.setdefault(int(parent), []).append(int(name))
    found: list[int] = []
    following = [ancestor]
    while following:
        below = children.pop(following.pop(), [])
        found += below
        following += below
    return found
