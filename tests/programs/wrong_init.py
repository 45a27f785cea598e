"""Inits that are wrong in different ways: `wrong_init.py WAY COMMAND...`."""

import os
import signal
import sys
import time


def nothing(main):
    """Reap nothing, like a program that is PID 1 by accident."""
    while True:
        signal.pause()


def main_only(main):
    """Wait only for the main child."""
    return os.waitpid(main, 0)[1]


def once_per_signal(main):
    """Wait once for each SIGCHLD, although several of them merge into one, signal(7)."""
    while True:
        signal.sigwait([signal.SIGCHLD])
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == main:
            return status


def polling(main):
    """Look for zombies once a second."""
    while True:
        time.sleep(1)
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == main:
                    return status
                if pid == 0:
                    break
        except ChildProcessError:
            pass


def first_child(main):
    """Mistake the first child that ends for the main child."""
    return os.wait()[1]


def without_code(main):
    """Reap all, but lose the main child's exit code."""
    while True:
        if os.wait()[0] == main:
            return 0


signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])
main = os.fork()
if main == 0:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvp(sys.argv[2], sys.argv[2:])
sys.exit(os.waitstatus_to_exitcode(globals()[sys.argv[1]](main)))
