"""Reaping: wait for every zombie, and interpret wait statuses."""

from __future__ import annotations

from _signal import SIGCHLD, SIGTRAP, sigpending, sigtimedwait, sigwait
from posix import (P_PID, WEXITSTATUS, WIFSIGNALED, WIFSTOPPED, WNOHANG, WNOWAIT, WSTOPPED, WSTOPSIG, WTERMSIG,
                   WUNTRACED, kill, waitid, waitpid)

from ..linux.signals import WAITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    Report = Optional[Callable[[int, int, bool], None]]

# With __WALL, <linux/wait.h>: else waitpid(2) passes over a child of clone(2) whose exit signal is not SIGCHLD. pyinit
# gets such a child only through execve(2): the kernel sets the exit signal of an orphan to SIGCHLD, and sends SIGCHLD
# if the parent has executed a program since.
ANY_NOHANG = WNOHANG | 1 << 30

# A status that no process has, for a main child whose own status was lost: exit code 1.
LOST = -1

# How many zombies are reaped, and how many signals are taken, before the other kind gets its turn. One batch takes a
# few milliseconds; one look for the other kind costs a tenth of a reap.
BATCH = 256
OTHERS = frozenset(WAITED) - {SIGCHLD}


class WaitReaper:
    """The waitpid loop: reaps on SIGCHLD.

    Zombies and signals take turns: a storm of orphans must not delay a signal or a deadline, and a flood of signals
    must not delay the reaping. sigwait(3) alone gives no turns: it takes the pending signal with the lowest number.
    """

    __slots__ = ("main_child", "stopped_by", "report", "flags", "childless", "unfinished", "budget", "children_next")

    def __init__(self, report: Report = None) -> None:
        """`report(pid, status, is_main)` is called for each child reaped."""
        self.main_child: Optional[int] = None  # None until it is started, and once it has been reaped
        self.stopped_by = 0  # the signal that has stopped the main child; the supervisor resets it to 0
        self.report = report
        self.flags = ANY_NOHANG
        self.childless = False  # whether the last drain found that there is no child left
        self.unfinished = False  # whether the last drain ended before the last zombie
        self.budget = BATCH  # reaps and signals until the other kind gets its turn
        self.children_next = False  # whether the next turn is the zombies'

    def watch(self, main_child: int) -> int:
        """Learn which child is the main child; return a signal to begin with, 0 for none."""
        self.main_child = main_child
        return 0

    def report_stops(self) -> None:
        """Let drain() also report, in `stopped_by`, that the main child has been stopped."""
        self.flags |= WUNTRACED

    def has_stopped(self) -> bool:
        """Return whether the main child has been stopped and drain() has yet to report it: SIGCHLD comes after SIGTERM.
        """
        if self.main_child is None or not self.flags & WUNTRACED:
            return False
        try:
            return waitid(P_PID, self.main_child, WSTOPPED | WNOHANG | WNOWAIT) is not None
        except OSError:  # a sandbox refuses waitid(2)
            return False

    def send(self, number: int, to_group: bool = False) -> None:
        """Send a signal to the main child, whose PID is not reused until it is reaped, or to its group.

        Raises OSError; ProcessLookupError also if there is no main child.
        """
        if self.main_child is None:
            raise ProcessLookupError
        kill(-self.main_child if to_group else self.main_child, number)

    def descriptors(self) -> set[int]:
        """Return the descriptors that it needs."""
        return set()

    def wait(self, timeout: float = -1.0) -> int:
        """Wait for a signal, take it and return it. Return SIGCHLD also when a drain is due, and 0 after `timeout`
        seconds unless that is negative. Raises OSError if a sandbox refuses the wait.

        Without a timeout, an idle pyinit is never woken. It waits by sigwait(3), not sigwaitinfo(2): the result is a
        small integer, which needs no memory, so no signal is taken and then lost to a MemoryError.
        """
        if self.budget <= 0:
            self.budget = BATCH
            self.children_next = True
            if not OTHERS.isdisjoint(sigpending()):
                taken = sigtimedwait(OTHERS, 0)  # not sigwait(3): a stop signal may have discarded SIGCONT, signal(7)
                if taken:
                    return taken.si_signo
        if self.children_next:
            self.children_next = False
            return SIGCHLD
        self.budget -= 1
        if timeout >= 0:
            taken = sigtimedwait(WAITED, timeout)
            return taken.si_signo if taken else 0
        return sigwait(WAITED)

    def drain(self) -> Optional[int]:
        """Reap until no zombie is left, because one SIGCHLD stands for any number of zombies, signal(7), or until it is
        the signals' turn.

        Return the main child's wait status if it was among them, else None.
        """
        main_status = None
        self.unfinished = self.childless = False
        while self.budget > 0:
            try:
                pid, status = self.reap_one()
            except ChildProcessError:  # ECHILD: no children
                self.childless = True
                return self.settle(main_status)
            if pid == 0:  # children, but none that has exited
                return self.settle(main_status)
            self.budget -= 1
            if WIFSTOPPED(status):
                self.note_stop(pid, WSTOPSIG(status))
                continue
            if pid == self.main_child:
                main_status = status
            if self.report:
                try:
                    self.report(pid, status, pid == self.main_child)
                except BaseException:
                    pass  # a MemoryError: the main child's status must not be lost to it
        self.unfinished = True
        return self.settle(main_status)

    def reap_one(self) -> tuple[int, int]:
        """Reap one zombie; return its PID and status, or (0, 0) if no child has ended. Raises ChildProcessError."""
        return waitpid(-1, self.flags)

    def settle(self, status: Optional[int]) -> Optional[int]:
        """Return the main child's status, once, else None. If no child is left and it was not seen, return LOST."""
        if status is None and self.childless and self.main_child is not None:
            status = LOST
        if status is not None:
            self.main_child = None
        return status

    def note_stop(self, pid: int, number: int) -> None:
        """Let a stopped child go if pyinit traces it; else, if it is the main child, note the signal."""
        if not let_go(pid, number) and pid == self.main_child:
            self.stopped_by = number


def let_go(pid: int, number: int) -> bool:
    """Detach from a stopped tracee and deliver the signal that stopped it; nothing else would resume it.

    A child becomes a tracee by PTRACE_TRACEME, ptrace(2). Return False if the child is not traced.
    """
    try:
        from ..linux.prctl import stop_tracing

        # SIGTRAP belongs to the tracing itself: the child has executed a program.
        return stop_tracing(pid, 0 if number == SIGTRAP else number)
    except BaseException:
        return False  # no _ctypes: a tracee stays stopped, and the others are reaped


def exit_code(status: int) -> int:
    """Return the exit code of a wait status as shells do: the child's own, or 128 + N if signal N killed it."""
    if status == LOST:
        return 1
    if WIFSIGNALED(status):
        return 128 + WTERMSIG(status)
    return WEXITSTATUS(status)


def rest() -> None:
    """Sleep for 50 ms after an error that may last: an immediate retry would use a whole CPU."""
    from time import sleep

    sleep(0.05)
