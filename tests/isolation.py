"""What keeps a test run apart from its surroundings: what it inherits, and the processes that it starts.

A run ends with none of its processes alive, or it fails and names them. For that pytest goes on in a child of the
process that was started. The parent is a subreaper, prctl(2), so that every process of the run stays below it, whatever
its user, session, PID namespace or environment, and it ends with all of them.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import select
import signal
import sys
import time
from pathlib import Path
from typing import Optional

import pytest
from support import descendants, read_stat, read_status

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>

# Job control works on the whole process group, so that parent and child stop and continue together.
JOB_CONTROL = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}
# What CPython itself ignores; subprocess restores these in its children.
PYTHON_IGNORES = {signal.SIGPIPE, signal.SIGXFSZ}
HANDED_ON = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}

# Variables that the programs under test obey. PYTHONUNBUFFERED hides what CPython writes late, at exit.
OBEYED = ("PYTHONUNBUFFERED", "PYINIT_REAP", "DUMB_INIT_DEBUG", "DUMB_INIT_SETSID",
          *(prefix + name for prefix in ("TINI_", "PYINIT_")
            for name in ("SUBREAPER", "KILL_PROCESS_GROUP", "VERBOSITY")))

# Seconds that a process has to end after the last test, for a loaded machine.
PATIENCE = 10.0


def reset_signals() -> None:
    """Let every program that the tests start have the default dispositions and an empty signal mask.

    nohup(1) ignores SIGHUP, and a shell ignores SIGINT and SIGQUIT for what it starts by `&`; both are meant for this
    process. A signal with a handler is dropped here all the same, and is default again after execve(2), where an
    ignored one stays ignored, signal(7).
    """
    for number in signal.valid_signals() - PYTHON_IGNORES:
        if signal.getsignal(number) == signal.SIG_IGN:
            # A handler would have the kernel restart a refused access to the terminal without end.
            signal.signal(number, signal.SIG_DFL if number in JOB_CONTROL else lambda *_: None)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def reset_environment() -> None:
    """Remove the variables that change what the programs under test do."""
    for name in OBEYED:
        os.environ.pop(name, None)


def adopt_orphans() -> int:
    """Go on in a child, and return the PID of this process, which adopts the orphans of the run and ends with it."""
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


def watch(child: int, taken: set[int]) -> None:
    """Reap orphans and hand on signals until the child ends; end with its exit code. Does not return."""
    while True:
        received = signal.sigwaitinfo(taken)
        # A signal of the terminal has si_code SI_KERNEL and goes to the whole process group, sigaction(2).
        if received.si_signo != signal.SIGCHLD and received.si_code <= 0:
            os.kill(child, received.si_signo)
        status = reap(child)
        if status is not None:
            kill_descendants()
            os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def reap(child: int) -> Optional[int]:
    """Reap every zombie, and return the wait status of the child if it is among them."""
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
    """Kill what is left of the run, generation by generation, and do not wait for what cannot be killed."""
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
        # PID and start time of each process that has outlived a test: a PID may be used again.
        self.outlived: dict[tuple[int, str], str] = {}

    def alive(self) -> list[tuple[int, str]]:
        """The processes of the run but pytest itself."""
        stats = ((pid, read_stat(pid)) for pid in descendants(self.guard) if pid != os.getpid())
        return [(pid, stat[19]) for pid, stat in stats if stat and stat[0] not in "ZX"]

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note what has outlived a test: a fixture of the session may still need it."""
        alive = self.alive()
        self.outlived = {process: self.outlived.get(process, nodeid) for process in alive}

    @pytest.hookimpl(trylast=True)  # once the fixtures of the session have been torn down
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Wait for what is ending, and report what is not. An interrupted run is not expected to end anything."""
        if os.getppid() != self.guard or session.exitstatus == pytest.ExitCode.INTERRUPTED:
            return
        end = time.monotonic() + PATIENCE
        while self.alive() and time.monotonic() < end:
            select.select([], [], [], 0.01)
        for process in self.alive():
            nodeid = self.outlived.get(process, "the run")
            self.report(session, nodeid, f"left behind by {nodeid}: {describe(process[0])}")

    def report(self, session: pytest.Session, nodeid: str, text: str) -> None:
        """Count an error of the run."""
        report = pytest.TestReport(nodeid, (nodeid.partition("::")[0], None, nodeid), {}, "failed", text, "teardown")
        session.config.hook.pytest_runtest_logreport(report=report)
        if session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def describe(pid: int) -> str:
    """A process in one line: its PID, user and command line, the middle of a long one left out."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ").split()
    except OSError:
        words = []
    status = read_status(pid)
    line = " ".join(words) or status.get("Name", "")
    user = status.get("Uid", "?").split()[0]
    try:
        user = pwd.getpwuid(int(user)).pw_name
    except (KeyError, ValueError):
        pass
    return f"process {pid} of user {user}: {line if len(line) <= 200 else f'{line[:100]} ... {line[-95:]}'}"
