"""The system calls that Python 3.9 has no function for, through the C library."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x00020000, 0x10000000, 0x20000000  # <linux/sched.h>
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>

LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library that returns -1 and errno when it fails. Raises OSError."""
    result = getattr(LIBC, name)(*arguments)
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def unshare(flags: int) -> None:
    """unshare(2)."""
    call("unshare", flags)


def enter_namespace(descriptor: int, kind: int) -> None:
    """setns(2)."""
    call("setns", descriptor, kind)


def set_parent_death_signal(number: int) -> None:
    """Have `number` sent to this process when its parent exits; kept by execve(2), not by fork(2): prctl(2)."""
    call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)


def become_subreaper() -> None:
    """Adopt the orphans among the descendants; kept by execve(2), not by fork(2): prctl(2)."""
    call("prctl", PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    """mount(2)."""
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
