"""System calls for which Python 3.9 has no function, called through the C library."""

from __future__ import annotations

import ctypes
import os

# <linux/sched.h>
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x00020000, 0x10000000, 0x20000000, 0x40000000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>

LIBC = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: object) -> int:
    """Call a function of the C library that returns -1 and sets errno if it fails. Raises OSError."""
    result: int = getattr(LIBC, name)(*arguments)
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")
    return result


def unshare(flags: int) -> None:
    """Call unshare(2). Raises OSError."""
    call("unshare", flags)


def enter_namespace(descriptor: int, kind: int) -> None:
    """Call setns(2). Raises OSError."""
    call("setns", descriptor, kind)


def set_parent_death_signal(number: int) -> None:
    """Ask the kernel to send signal `number` to this process when its parent exits, prctl(2).

    execve(2) keeps the setting, and a child of fork(2) does not inherit it.
    """
    call("prctl", PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)


def become_subreaper() -> None:
    """Make this process adopt the orphans among its descendants, prctl(2).

    execve(2) keeps the setting, and a child of fork(2) does not inherit it.
    """
    call("prctl", PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    """Call mount(2). Raises OSError."""
    call("mount", source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None)
