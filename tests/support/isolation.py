"""Isolate a test run: reset what it inherits, and end every process that it starts.

A run fails if one of its processes is still alive at the end, and names it. For this, pytest continues in a child of
the process that was started. The parent, the guard, is a subreaper, prctl(2): every process of the run stays below it,
in any session, PID namespace and environment, and under any user. At the end the guard kills those that are left.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import select
import signal
import sys
import time
from collections.abc import Collection
from typing import Optional

import pytest

from support.proc import descendants, read_cmdline, read_stat, read_status

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>

# Job control signals go to the whole process group, so that parent and child stop and continue together.
JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
# CPython itself ignores these; subprocess restores them in its children.
PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}
HANDED_ON = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}

# Variables that change the programs under test. PYTHONUNBUFFERED hides faults in what CPython writes at exit.
OBEYED = ("PYTHONUNBUFFERED", "PYINIT_REAP", "DUMB_INIT_DEBUG", "DUMB_INIT_SETSID",
          *(prefix + name for prefix in ("TINI_", "PYINIT_")
            for name in ("SUBREAPER", "KILL_PROCESS_GROUP", "VERBOSITY")))

# Seconds that processes have to end after the last test, long enough for a loaded machine.
PATIENCE = 10.0


def reset_signals() -> None:
    """Give every program that the tests start the default dispositions and an empty signal mask.

    nohup(1) ignores SIGHUP, and a shell ignores SIGINT and SIGQUIT for a command with `&`. Both are meant for this
    process, not for its children. A handler that does nothing also drops a signal here, but execve(2) resets a handler
    to the default, while an ignored signal stays ignored, signal(7).
    """
    for number in signal.valid_signals() - PYTHON_IGNORES:
        if signal.getsignal(number) == signal.SIG_IGN:
            # With a handler the kernel would restart a refused access to the terminal without end.
            signal.signal(number, signal.SIG_DFL if number in JOB_CONTROL else lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def reset_environment() -> None:
    """Remove the variables that change what the programs under test do."""
    for name in OBEYED:
        os.environ.pop(name, None)


def adopt_orphans() -> int:
    """Continue in a child. This process becomes its guard: it adopts the run's orphans and ends when the child does.

    Return the PID of the guard.
    """
    guard = os.getpid()
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1), 0, 0, 0)
    taken = HANDED_ON | {signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, taken)
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        watch(child, taken)
    libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
    if os.getppid() != guard:
        os._exit(1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, taken)
    return guard


def watch(child: int, taken: Collection[int]) -> None:
    """Reap orphans and forward signals until the child ends, and exit with its exit code. Does not return."""
    while True:
        received = signal.sigwaitinfo(taken)
        # A signal from the terminal has si_code SI_KERNEL, sigaction(2), and has gone to the whole process group.
        if received.si_signo != signal.SIGCHLD and received.si_code <= 0:
            os.kill(child, received.si_signo)
        status = reap(child)
        if status is not None:
            kill_descendants()
            os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def reap(child: int) -> Optional[int]:
    """Reap every zombie; return the wait status of the child, or None if it was not among them."""
    found = None
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return found
            if pid == child:
                found = status
    except ChildProcessError:
        return found


def kill_descendants() -> None:
    """Kill the descendants that are left until none is alive, for at most PATIENCE: some may be impossible to kill."""
    end = time.monotonic() + PATIENCE
    while descendants(os.getpid()) and time.monotonic() < end:
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        reap(0)
        select.select([], [], [], 0.01)


class Leftovers:
    """A pytest plugin that fails the run for each of its processes that is alive at the end, and names it."""

    def __init__(self, guard: int) -> None:
        self.guard = guard
        # The PID and start time of each process that outlived a test, as PIDs are reused, and the test's ID.
        self.outlived: dict[tuple[int, str], str] = {}

    def alive(self) -> list[tuple[int, str]]:
        """Return the PID and start time of each process of the run except pytest."""
        stats = ((pid, read_stat(pid)) for pid in descendants(self.guard) if pid != os.getpid())
        return [(pid, stat[19]) for pid, stat in stats if stat and stat[0] not in "ZX"]

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note the processes that outlive a test: a fixture of the session may still need them."""
        alive = self.alive()
        self.outlived = {process: self.outlived.get(process, nodeid) for process in alive}

    @pytest.hookimpl(trylast=True)  # once the fixtures of the session have been torn down
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Wait for processes that are ending, and report the others. An interrupted run need not have ended any."""
        if os.getppid() != self.guard or session.exitstatus == pytest.ExitCode.INTERRUPTED:
            return
        end = time.monotonic() + PATIENCE
        # A process whose parent ends during the first look may be missing from it, but not from the second.
        while (left := self.alive() or self.alive()) and time.monotonic() < end:
            select.select([], [], [], 0.01)
        for process in left:
            nodeid = self.outlived.get(process, "the run")
            self.report(session, nodeid, f"left behind by {nodeid}: {describe(process[0])}")

    def report(self, session: pytest.Session, nodeid: str, text: str) -> None:
        """Report an error of a test's teardown, and make the run fail."""
        report = pytest.TestReport(nodeid, (nodeid.partition("::")[0], None, nodeid), {}, "failed", text, "teardown")
        session.config.hook.pytest_runtest_logreport(report=report)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def describe(pid: int) -> str:
    """Describe a process in one line: its PID, user and command line, without the middle of a long one."""
    words = read_cmdline(pid).decode(errors="replace").replace("\0", " ").split()
    status = read_status(pid)
    line = " ".join(words) or status.get("Name", "")
    user = status.get("Uid", "?").split()[0]
    try:
        user = pwd.getpwuid(int(user)).pw_name
    except (KeyError, ValueError):
        pass
    return f"process {pid} of user {user}: {line if len(line) <= 200 else f'{line[:100]} ... {line[-95:]}'}"
