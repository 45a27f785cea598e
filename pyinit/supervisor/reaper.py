"""Reaping: wait for every zombie, and read what a status says."""

from __future__ import annotations

from _signal import SIGCHLD, SIGTRAP, sigpending, sigtimedwait, sigwait
from posix import WEXITSTATUS, WIFSIGNALED, WIFSTOPPED, WNOHANG, WSTOPSIG, WTERMSIG, WUNTRACED, kill, waitpid

from ..linux.signals import WAITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    Report = Optional[Callable[[int, int, bool], None]]

# With __WALL, <linux/wait.h>: else a child of clone(2) is passed over whose exit signal is not SIGCHLD. Such a child
# comes through execve(2) alone: the kernel gives an orphan SIGCHLD, and sends it where the parent has executed since.
ANY_NOHANG = WNOHANG | 1 << 30

# A status that no process has, for a main child whose own status was lost: exit code 1.
LOST = -1

# How many zombies are reaped, and how many signals are taken, before the other kind gets its turn. One batch takes a
# few milliseconds; one look costs as much as a tenth of a reap.
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
        self.main_child: Optional[int] = None  # until it is started, and when it has been reaped
        self.stopped_by = 0  # the signal that has stopped the main child; the supervisor sets it back
        self.report = report
        self.flags = ANY_NOHANG
        self.childless = False  # whether the last drain found that there is no child left
        self.unfinished = False  # whether the last drain ended before the last zombie
        self.budget = BATCH  # reaps and signals until the next turn of the others
        self.children_next = False  # whether the next turn is the zombies'

    def watch(self, main_child: int) -> int:
        """Learn which child is the main child; return a signal to begin with, 0 for none."""
        self.main_child = main_child
        return 0

    def report_stops(self) -> None:
        """Also learn that the main child has been stopped: `stopped_by`."""
        self.flags |= WUNTRACED

    def send(self, number: int, to_group: bool = False) -> None:
        """Send a signal to the main child, whose PID is its own until it is reaped, or to its group.

        Raises OSError; ProcessLookupError also when there is no main child.
        """
        if self.main_child is None:
            raise ProcessLookupError
        kill(-self.main_child if to_group else self.main_child, number)

    def descriptors(self) -> set[int]:
        """The descriptors that it needs."""
        return set()

    def wait(self, timeout: float = -1.0) -> int:
        """Wait for a signal and take it; SIGCHLD also when a drain is due; 0 after `timeout` seconds, if that is not
        negative. Raises OSError where a sandbox refuses to wait.

        Without a timeout, an idle pyinit is never woken. sigwait(3), not sigwaitinfo(2): its answer is a small integer,
        which needs no memory, so that no signal is taken and then lost to a MemoryError.
        """
        if self.budget <= 0:
            self.budget = BATCH
            self.children_next = True
            if not OTHERS.isdisjoint(sigpending()):
                return sigwait(OTHERS)
        if self.children_next:
            self.children_next = False
            return SIGCHLD
        self.budget -= 1
        if timeout >= 0:
            taken = sigtimedwait(WAITED, timeout)
            return taken.si_signo if taken else 0
        return sigwait(WAITED)

    def drain(self) -> Optional[int]:
        """Reap until no zombie is left, or until the signals' turn: one SIGCHLD stands for any number of zombies,
        signal(7).

        Returns the main child's wait status if it was among them, else None.
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
        """The main child's status, once; LOST when no child is left and it was not seen: it never will be."""
        if status is None and self.childless and self.main_child is not None:
            status = LOST
        if status is not None:
            self.main_child = None
        return status

    def note_stop(self, pid: int, number: int) -> None:
        """Let a stopped child go if pyinit traces it; else, if it is the main child, note that it is stopped."""
        if not let_go(pid, number) and pid == self.main_child:
            self.stopped_by = number


def let_go(pid: int, number: int) -> bool:
    """Detach from a stopped tracee and deliver the signal that stopped it; nothing else would resume it.

    A child becomes one by PTRACE_TRACEME, ptrace(2). Returns False when the child is not traced.
    """
    try:
        from ..linux.prctl import stop_tracing

        # SIGTRAP is of the tracing itself: the child has executed a program.
        return stop_tracing(pid, 0 if number == SIGTRAP else number)
    except BaseException:
        return False  # no _ctypes: a tracee stays stopped, and the others are reaped


def exit_code(status: int) -> int:
    """The exit code of a wait status as shells give it: the child's own, or 128 + N when signal N killed it."""
    if status == LOST:
        return 1
    if WIFSIGNALED(status):
        return 128 + WTERMSIG(status)
    return WEXITSTATUS(status)


def rest() -> None:
    """Let a moment pass after an error that may last: a retry at once would use a whole CPU."""
    from time import sleep

    sleep(0.05)
