"""The orderly end: carry out what the state machine in shutdown.py decides; loaded with its options."""

from __future__ import annotations

from _signal import SIGCHLD, SIGCONT, SIGINT, SIGKILL, SIGQUIT, SIGTERM
from time import monotonic

from ..log import INFORMATION, Log
from ..options import Options
from ..child.descendants import has_strangers, send_to_all
from .reaper import WaitReaper
from .shutdown import CONTINUE_ALL, KILL_ALL, KILL_MAIN, LEAVE, NEVER, NOTHING, TERMINATE_ALL, Shutdown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

LOOK_AGAIN = 0.05  # seconds between two looks for strangers

# A shell starts its background processes with these ignored, so that they need another signal.
FROM_KEYBOARD = (SIGINT, SIGQUIT)


class OrderlyEnd:
    """Brings the container to its end, with the supervisor's loop as its clock."""

    __slots__ = ("shutdown", "stop_signals", "log", "main_ended", "strangers")

    def __init__(self, options: Options, log: Log) -> None:
        self.shutdown = Shutdown(options.grace, options.wait_all, options.kill_after)
        self.stop_signals = options.stop_signals
        self.log = log
        self.main_ended = False
        self.strangers = False  # whether all processes left are ones whose end the kernel does not report to pyinit

    def timeout(self) -> float:
        """Return how many seconds the supervisor may wait for a signal; negative means for ever."""
        deadline = self.shutdown.deadline
        left = -1.0 if deadline == NEVER else max(0.0, deadline - monotonic())
        if self.strangers:
            return min(left, LOOK_AGAIN) if left >= 0 else LOOK_AGAIN
        return left

    def advance(self, number: int, status: Optional[int], reaper: WaitReaper) -> bool:
        """Advance the state machine, and return whether to leave.

        number is the signal that the supervisor has just handled, by reaping or forwarding, or 0. status is the main
        child's wait status, None while it runs.
        """
        shutdown, now = self.shutdown, monotonic()
        self.strangers = status is not None and reaper.childless and has_strangers()
        alone = reaper.childless and not self.strangers
        if status is not None and not self.main_ended:
            self.main_ended = True
            action = shutdown.main_ended(now, alone)
        elif number == SIGCHLD:
            action = shutdown.child_ended(alone)
        elif number in self.stop_signals:
            action = shutdown.stop(now, number in FROM_KEYBOARD)
        else:
            action = LEAVE if alone and self.main_ended else NOTHING
        if action != LEAVE and self.act(action, reaper):
            action = shutdown.expire(now)  # after each signal: in a storm SIGCHLD is always pending
            return action == LEAVE or not self.act(action, reaper)
        return True

    def act(self, action: str, reaper: WaitReaper) -> bool:
        """Send what the stage asks for; return False if the processes to kill cannot be found."""
        if action == KILL_MAIN:
            self.log.tell(INFORMATION, "killing_main", reaper.main_child)
            reaper.send(SIGKILL)
        elif action in (TERMINATE_ALL, CONTINUE_ALL):
            self.log.tell(INFORMATION, "terminating_all", self.shutdown.grace)
            if action == TERMINATE_ALL:
                send_to_all(SIGTERM)
            send_to_all(SIGCONT)  # a stopped process takes no signal but SIGKILL before it goes on, signal(7)
        elif action == KILL_ALL:
            self.log.tell(INFORMATION, "killing_all")
            return send_to_all(SIGKILL)
        return True
