"""Give the main child its own session, with the terminal that pyinit gives up; loaded when asked for."""

from __future__ import annotations

import fcntl
import posix
import termios
from _signal import SIGCONT, SIGHUP


def detach_terminal() -> set[int]:
    """Give up the controlling terminal; return the signals to take once and not to forward.

    When a session leader does so, the kernel sends SIGHUP and SIGCONT to the foreground process group, pyinit itself
    included, ioctl_tty(2) TIOCNOTTY.
    """
    try:
        fcntl.ioctl(0, termios.TIOCNOTTY)
    except OSError:  # ENOTTY: pyinit has none
        return set()
    return {SIGHUP, SIGCONT} if posix.getsid(0) == posix.getpid() else set()


def start_session() -> None:
    """In the main child: lead a session, with stdin as its controlling terminal if it is a free terminal."""
    posix.setsid()
    try:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    except OSError:
        pass  # ENOTTY: stdin is no terminal; EPERM: it is another session's
