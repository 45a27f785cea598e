"""Reaping: wait for every zombie there is, and read what a status says."""

from __future__ import annotations

from posix import WEXITSTATUS, WIFSIGNALED, WNOHANG, WTERMSIG, waitpid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

# A status, which no process has, for a main child whose own was lost: exit code 1.
LOST = -1


def drain(main_child: int, report: Optional[Callable[[int, int, bool], None]] = None) -> Optional[int]:
    """Reap until no zombie is left: one SIGCHLD stands for any number of them, signal(7).

    Returns the main child's wait status if it was among them, else None. `report(pid, status, is_main)` is called for
    each child. When there is no child left at all and the main child was not seen, its status is LOST: waiting on
    would be for ever. A pause, which has no main child, passes 0.
    """
    main_status = None
    while True:
        try:
            pid, status = waitpid(-1, WNOHANG)
        except ChildProcessError:  # ECHILD: no children
            return LOST if main_status is None and main_child else main_status
        if pid == 0:  # children, but none that has exited
            return main_status
        if pid == main_child:
            main_status = status
        if report:
            report(pid, status, pid == main_child)


def exit_code(status: int) -> int:
    """The exit code of a wait status as shells give it: the child's own, or 128 + N when signal N killed it."""
    if status == LOST:
        return 1
    if WIFSIGNALED(status):
        return 128 + WTERMSIG(status)
    return WEXITSTATUS(status)
