"""Job control: see who holds the terminal, hand it to the main child and take it back, stop with the main child.

Loaded when stdin is a terminal, or pyinit's session has one.
"""

from __future__ import annotations

import posix
from _signal import (SIG_BLOCK, SIG_UNBLOCK, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, pthread_sigmask, signal,
                     sigpending)

from ..linux.signals import SIG_DFL


def holds_terminal() -> bool:
    """Return whether stdin is the controlling terminal and pyinit's process group is its foreground process group."""
    try:
        foreground = posix.tcgetpgrp(0)
    except OSError:  # ENOTTY, EBADF
        return False
    if foreground != posix.getpgrp():
        return False
    # Groups of an outer PID namespace have the number 0, pid_namespaces(7), so two different ones look the same.
    return foreground != 0 or reads_from_foreground()


def reads_from_foreground() -> bool:
    """Return whether pyinit is in the foreground of its controlling terminal: a read from the background fails,
    setpgid(2).

    A read of 0 bytes takes nothing. It uses a new open file description that does not block, because another reader of
    the terminal holds its lock, and the read would wait for it.
    """
    try:
        terminal = posix.open("/dev/tty", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC)
    except OSError:
        return False
    try:
        posix.read(terminal, 0)
    except BlockingIOError:
        pass  # another reader holds the lock; in the background, EIO would have come first
    except OSError:  # EIO, as SIGTTIN is blocked
        return False
    finally:
        posix.close(terminal)
    return True


def hand_over(main_child: int) -> bool:
    """Give the main child's group the terminal if a shell's `fg` has given it to pyinit's; return whether it was."""
    if not holds_terminal():
        return False
    try:
        posix.tcsetpgrp(0, posix.getpgid(main_child))  # which may have moved to another group
    except OSError:
        return False  # it has ended, or moved to another session
    return True


def follow_stop(number: int) -> bool:
    """Do what the shell expects of a job whose process was stopped by `number`; return whether to continue the main
    child at once.

    The terminal stops process groups, and the main child's group is not the one that the shell started, so the shell
    would wait for a job that does not stop. If the main child was stopped for being in the background, and pyinit's own
    group is in the foreground, the caller hands the terminal over: a shell that puts a running job into the foreground
    sends no signal.
    """
    if number in (SIGTTIN, SIGTTOU) and holds_terminal():
        return True
    if number in (SIGTSTP, SIGTTIN, SIGTTOU):
        return not stop_itself(number, 0) and number == SIGTSTP
    if number == SIGSTOP:
        # The terminal does not send SIGSTOP. Send SIGTSTP: the kernel drops it if no shell can continue pyinit.
        stop_itself(SIGTSTP, posix.getpid())
    return False


def stop_itself(number: int, target: int) -> bool:
    """Stop pyinit, or its process group if `target` is 0, as the terminal would have. Return, once pyinit runs again,
    whether it was stopped and continued.

    The group, because the interactive shell may wait for a script of the same group that has started pyinit. The kernel
    drops the signal if the group is orphaned, because no shell could continue it, setpgid(2).
    """
    if SIGCONT in sigpending():
        return True  # it arrived after the main child's stop, and the kill(2) below would discard it, signal(7)
    signal(number, SIG_DFL)  # it may have been ignored at the start
    posix.kill(target, number)
    pthread_sigmask(SIG_UNBLOCK, (number,))  # it is delivered, and pyinit stopped, before this call returns
    pthread_sigmask(SIG_BLOCK, (number,))
    return SIGCONT in sigpending()


def take_back(main_child: int) -> None:
    """Make pyinit's group the foreground group again: else the shell that started it would stop when it reads.

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
