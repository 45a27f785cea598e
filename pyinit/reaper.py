"""Reaping: wait for every zombie there is, and read what a status says."""

from __future__ import annotations

from _signal import SIGTRAP, sigtimedwait, sigwait
from posix import WEXITSTATUS, WIFSIGNALED, WIFSTOPPED, WNOHANG, WSTOPSIG, WTERMSIG, kill, waitpid

from .signals import WAITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    Report = Optional[Callable[[int, int, bool], None]]

# With __WALL, <linux/wait.h>: else a child of clone(2) is passed over whose exit signal is not SIGCHLD. Such a child
# comes through execve(2) alone: the kernel gives an orphan SIGCHLD, and sends it where the parent has executed since.
ANY_NOHANG = WNOHANG | 1 << 30

# A status, which no process has, for a main child whose own was lost: exit code 1.
LOST = -1


class WaitReaper:
    """The waitpid loop: reaps on SIGCHLD."""

    __slots__ = ("main_child", "report", "childless")

    waitpid = waitpid  # the system call itself; CountingReaper has a look at the zombie first

    def __init__(self, report: Report = None) -> None:
        """`report(pid, status, is_main)` is called for each child reaped."""
        self.main_child = 0
        self.report = report
        self.childless = False  # whether the last drain found that there is no child left

    def watch(self, main_child: int) -> int:
        """Learn which child is the main child; return a signal to begin with, 0 for none."""
        self.main_child = main_child
        return 0

    def send(self, number: int, to_group: bool = False) -> None:
        """Send a signal to the main child, whose PID is its own until it is reaped, or to its group. Raises OSError."""
        kill(-self.main_child if to_group else self.main_child, number)

    def descriptors(self) -> set[int]:
        """The descriptors that it needs."""
        return set()

    def wait(self, timeout: float = -1.0) -> int:
        """Wait for a signal and take it; 0 after `timeout` seconds, if that is not negative.

        Without a timeout, an idle pyinit is never woken. sigwait(3), not sigwaitinfo(2): its answer is a small integer,
        which needs no memory, so that no signal is taken and then lost to a MemoryError.
        """
        if timeout < 0:
            return sigwait(WAITED)
        taken = sigtimedwait(WAITED, timeout)
        return taken.si_signo if taken else 0

    def drain(self) -> Optional[int]:
        """Reap until no zombie is left: one SIGCHLD stands for any number of them, signal(7).

        Returns the main child's wait status if it was among them, else None.
        """
        main_status = None
        while True:
            try:
                pid, status = self.waitpid(-1, ANY_NOHANG)
            except ChildProcessError:  # ECHILD: no children
                self.childless = True
                return self.settle(main_status)
            if pid == 0:  # children, but none that has exited
                self.childless = False
                return self.settle(main_status) if main_status is not None else None
            if WIFSTOPPED(status):  # it has not ended: it made pyinit its tracer, ptrace(2) PTRACE_TRACEME
                let_go(pid, WSTOPSIG(status))
                continue
            if pid == self.main_child:
                main_status = status
            if self.report:
                try:
                    self.report(pid, status, pid == self.main_child)
                except BaseException:
                    pass  # a MemoryError: the main child's status must not be lost to it

    def settle(self, status: Optional[int]) -> Optional[int]:
        """The main child's status, once; LOST when there is no child left and it was not seen: it never will be."""
        if status is None and self.childless and self.main_child:
            status = LOST
        if status is not None:
            self.main_child = 0
        return status


def let_go(pid: int, number: int) -> None:
    """Trace a child no longer that was stopped by a signal, and have it take that: nobody here would let it go on."""
    try:
        from .prctl import stop_tracing

        stop_tracing(pid, 0 if number == SIGTRAP else number)  # SIGTRAP is of the tracing itself: it has executed
    except BaseException:
        pass  # no _ctypes: it stays stopped, and the others are reaped


def exit_code(status: int) -> int:
    """The exit code of a wait status as shells give it: the child's own, or 128 + N when signal N killed it."""
    if status == LOST:
        return 1
    if WIFSIGNALED(status):
        return 128 + WTERMSIG(status)
    return WEXITSTATUS(status)
