"""Find the processes below pyinit, and send signals to all of them; loaded when asked for."""

from __future__ import annotations

import posix

from ..linux.procfs import list_parents


def send_to_all(number: int) -> bool:
    """Send a signal to all other processes of the PID namespace if pyinit is its PID 1, else to all its descendants.

    Return False if no descendant can be found. kill(2) with -1 spares the sender, and from PID 1 it reaches no
    process outside of the namespace, pid_namespaces(7).
    """
    if posix.getpid() == 1:
        try:
            posix.kill(-1, number)
        except OSError:
            pass  # ESRCH: no other process; EPERM: another user's process
        return True
    try:
        found = descendants(posix.getpid()) if has_own_proc() else []
    except OSError:  # EMFILE, ENFILE
        return False
    for pid in found:
        try:
            posix.kill(pid, number)
        except OSError:
            pass  # ESRCH: it has just ended; EPERM: it is another user's
    return bool(found)


def has_own_proc() -> bool:
    """Return whether /proc shows pyinit's PID namespace. In another one, PIDs mean other processes, proc(5)."""
    try:
        return posix.readlink("/proc/self") == str(posix.getpid())
    except OSError:
        return False


def has_strangers() -> bool:
    """Return whether pyinit is PID 1 and not alone in its PID namespace. Call it when pyinit has no child left.

    `podman exec` puts processes there from outside, setns(2). The kernel reports their end to their parent, not pyinit.
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
    """Return the PIDs of a process's descendants, parents before children. Raises OSError if /proc cannot be read.

    Zombies are included: a process whose first thread has ended shows as a zombie while its other threads run.
    """
    children: dict[int, list[int]] = {}
    for pid, parent in list_parents():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    following = [ancestor]
    while following:
        below = children.pop(following.pop(), [])
        found += below
        following += below
    return found
