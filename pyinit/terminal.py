"""The terminal: whose it is, handing it to the main child, and taking it back; loaded when stdin is one."""

from __future__ import annotations

import posix


def holds_terminal() -> bool:
    """Whether stdin is the controlling terminal and pyinit's process group is its foreground process group."""
    try:
        foreground = posix.tcgetpgrp(0)
    except OSError:  # ENOTTY, EBADF
        return False
    if foreground != posix.getpgrp():
        return False
    # Both are 0 when they are of an outer PID namespace, pid_namespaces(7), the same group or not.
    return foreground != 0 or reads_from_foreground()


def reads_from_foreground() -> bool:
    """Ask the kernel whether the controlling terminal is ours: from the background a read fails, setpgid(2).

    A read of nothing takes nothing. It is done on a description of our own that does not block: another reader of the
    terminal holds its lock, and would be waited for.
    """
    try:
        terminal = posix.open("/dev/tty", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        posix.read(terminal, 0)
    except BlockingIOError:
        pass  # another reader is there; that we are in the background would have been said first
    except OSError:  # EIO, as SIGTTIN is blocked
        return False
    finally:
        posix.close(terminal)
    return True


def hand_over(main_child: int) -> bool:
    """Give the main child's group the terminal if a shell's `fg` has given it to pyinit's; return whether it has."""
    if not holds_terminal():
        return False
    try:
        posix.tcsetpgrp(0, main_child)
    except OSError:
        return False  # it has no group any more
    return True


def take_back(main_child: int) -> None:
    """Make pyinit's group the foreground again: else whoever started it would read from the background and stop.

    But not from somebody else: a shell that pyinit was stopped under has it by now.
    """
    try:
        foreground = posix.tcgetpgrp(0)
        if foreground != main_child:
            posix.kill(-foreground, 0) if foreground else None
            return
    except ProcessLookupError:
        pass  # the group that had it is gone
    except OSError:
        return  # the terminal was hung up
    try:
        posix.tcsetpgrp(0, posix.getpgrp())
    except OSError:
        pass  # the terminal was hung up, or the group is of an outer PID namespace and has no number here
