"""A session of its own for the main child, with the terminal that pyinit gives up; loaded when asked for."""

from __future__ import annotations

import fcntl
import posix
import termios
from _signal import SIGCONT, SIGHUP

from .log import DEBUG, Log


def detach_terminal(log: Log) -> set[int]:
    """Give up the controlling terminal; return the signals to take once and not to forward.

    When a session leader does so, the kernel sends SIGHUP and SIGCONT to the foreground process group, pyinit itself
    included, ioctl_tty(2) TIOCNOTTY.
    """
    try:
        fcntl.ioctl(0, termios.TIOCNOTTY)
    except OSError as error:
        log.tell(DEBUG, "not_detached", error)
        return set()
    leader = posix.getsid(0) == posix.getpid()
    log.tell(DEBUG, "detached", leader)
    return {SIGHUP, SIGCONT} if leader else set()


def start_session(log: Log) -> None:
    """In the main child: lead a session, with stdin as its controlling terminal if it is one and free."""
    posix.setsid()
    try:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    except OSError as error:
        log.tell(DEBUG, "not_attached", error)
    log.tell(DEBUG, "session_started")
