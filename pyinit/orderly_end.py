"""The orderly end: acts out what the state machine in shutdown.py decides; loaded when asked for."""

from __future__ import annotations

from _signal import SIGCHLD, SIGCONT, SIGKILL, SIGTERM
from time import monotonic

from .log import INFORMATION, Log
from .options import Options
from .processes import send_to_all
from .reaper import WaitReaper
from .shutdown import KILL_ALL, KILL_MAIN, LEAVE, NEVER, NOTHING, TERMINATE_ALL, Shutdown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


class OrderlyEnd:
    """Brings the container to its end, with the supervisor's loop as its clock."""

    __slots__ = ("shutdown", "stop_signals", "log", "main_ended")

    def __init__(self, options: Options, log: Log) -> None:
        self.shutdown = Shutdown(options.grace, options.wait_all, options.kill_after)
        self.stop_signals = options.stop_signals
        self.log = log
        self.main_ended = False

    def timeout(self) -> float:
        """Seconds that the supervisor may wait for a signal; negative is for ever."""
        deadline = self.shutdown.deadline
        return -1.0 if deadline == NEVER else max(0.0, deadline - monotonic())

    def advance(self, number: int, status: Optional[int], reaper: WaitReaper) -> bool:
        """Take note of what the supervisor has just done about a signal, 0 if none came; return whether to leave.

        status is the main child's, None while it runs.
        """
        shutdown, now, childless = self.shutdown, monotonic(), reaper.childless
        if status is not None and not self.main_ended:
            self.main_ended = True
            action = shutdown.main_ended(now, childless)
        elif number == SIGCHLD:
            action = shutdown.child_ended(childless)
        elif number in self.stop_signals:
            action = shutdown.stop(now)
        else:
            action = NOTHING
        self.act(action, reaper)
        if action != LEAVE:
            action = shutdown.expire(now)  # whatever came: in a storm there is always a SIGCHLD
            self.act(action, reaper)
        return action == LEAVE

    def act(self, action: str, reaper: WaitReaper) -> None:
        """Send what the stage asks for."""
        if action == KILL_MAIN:
            self.log.tell(INFORMATION, "killing_main", reaper.main_child)
            reaper.send(SIGKILL)
        elif action == TERMINATE_ALL:
            self.log.tell(INFORMATION, "terminating_all", self.shutdown.grace)
            send_to_all(SIGTERM)
            send_to_all(SIGCONT)  # a stopped process takes no signal but SIGKILL before it goes on, signal(7)
        elif action == KILL_ALL:
            self.log.tell(INFORMATION, "killing_all")
            send_to_all(SIGKILL)
