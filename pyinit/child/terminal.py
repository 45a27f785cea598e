"""The terminal: whose it is, handing it to the main child, and taking it back; stopping with the main child.

Loaded when stdin is a terminal.
"""

from __future__ import annotations

import posix
from _signal import (SIG_BLOCK, SIG_UNBLOCK, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, pthread_sigmask, signal,
                     sigpending)

from ..linux.signals import SIG_DFL


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
        return False  # its group has ended
    return True


def follow_stop(number: int, main_child: int) -> bool:
    """Do what the shell expects of a job whose process was stopped by `number`; return whether the main child is to be
    continued at once.

    The terminal stops process groups, and the main child's is not the one that the shell started: so the shell would
    wait for a job that does not stop. A main child that was stopped since it is in the background, though pyinit's own
    group is in the foreground, gets the terminal: a shell that puts a running job into the foreground says nothing.
    """
    if number in (SIGTTIN, SIGTTOU) and hand_over(main_child):
        return True
    if number in (SIGTSTP, SIGTTIN, SIGTTOU):
        return not stop_own_group(number) and number == SIGTSTP
    if number == SIGSTOP:
        stop_own_group(SIGTSTP)  # as that, the kernel does not stop a group that no shell can continue
    return False


def stop_own_group(number: int) -> bool:
    """Stop pyinit's process group, as the terminal would have; return, when it has been continued, whether it was.

    Not as one process: a shell script above it, of the same group, is the one that the interactive shell waits for. The
    kernel drops the signal where the group is orphaned: no shell is there that could continue it, setpgid(2).
    """
    signal(number, SIG_DFL)  # it may have been ignored at the start
    posix.kill(0, number)
    pthread_sigmask(SIG_UNBLOCK, (number,))  # it is delivered, and pyinit stopped, before this call returns
    pthread_sigmask(SIG_BLOCK, (number,))
    return SIGCONT in sigpending()


def take_back(main_child: int) -> None:
    """Make pyinit's group the foreground again: else the shell that started it would read from the background and stop.

    If another living group has the terminal, leave it there: a shell has taken it while pyinit was stopped.
    """
    try:
        foreground = posix.tcgetpgrp(0)
        if foreground != main_child:
            posix.kill(-foreground, 0) if foreground else None
            return
    except ProcessLookupError:
        pass  # the group that had it has ended
    except OSError:
        return  # the terminal was hung up
    try:
        posix.tcsetpgrp(0, posix.getpgrp())
    except OSError:
        pass  # the terminal was hung up, or the group is of an outer PID namespace and has no number here
