"""The orderly end: carries out what the state machine in shutdown.py decides; loaded with its options."""

from __future__ import annotations

from _signal import SIGCHLD, SIGCONT, SIGKILL, SIGTERM
from time import monotonic

from ..log import INFORMATION, Log
from ..options import Options
from ..child.descendants import has_strangers, send_to_all
from .reaper import WaitReaper
from .shutdown import KILL_ALL, KILL_MAIN, LEAVE, NEVER, NOTHING, TERMINATE_ALL, Shutdown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional


LOOK_AGAIN = 0.05  # seconds between two looks for strangers


class OrderlyEnd:
    """Brings the container to its end, with the supervisor's loop as its clock."""

    __slots__ = ("shutdown", "stop_signals", "log", "main_ended", "strangers")

    def __init__(self, options: Options, log: Log) -> None:
        self.shutdown = Shutdown(options.grace, options.wait_all, options.kill_after)
        self.stop_signals = options.stop_signals
        self.log = log
        self.main_ended = False
        self.strangers = False  # whether only processes are left whose end the kernel does not tell pyinit

    def timeout(self) -> float:
        """Seconds that the supervisor may wait for a signal; negative is for ever."""
        deadline = self.shutdown.deadline
        left = -1.0 if deadline == NEVER else max(0.0, deadline - monotonic())
        if self.strangers:
            return min(left, LOOK_AGAIN) if left >= 0 else LOOK_AGAIN
        return left

    def advance(self, number: int, status: Optional[int], reaper: WaitReaper) -> bool:
        """Take note of the signal that the supervisor has just reaped for or forwarded, 0 if none; return whether to
        leave.

        status is the main child's, None while it runs.
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
            action = shutdown.stop(now)
        else:
            action = LEAVE if alone and self.main_ended else NOTHING
        if action != LEAVE and self.act(action, reaper):
            action = shutdown.expire(now)  # after each signal: in a storm SIGCHLD is always pending
            return action == LEAVE or not self.act(action, reaper)
        return True

    def act(self, action: str, reaper: WaitReaper) -> bool:
        """Send what the stage asks for; False when those who should be killed cannot be found."""
        if action == KILL_MAIN:
            self.log.tell(INFORMATION, "killing_main", reaper.main_child)
            reaper.send(SIGKILL)
        elif action == TERMINATE_ALL:
            self.log.tell(INFORMATION, "terminating_all", self.shutdown.grace)
            send_to_all(SIGTERM)
            send_to_all(SIGCONT)  # a stopped process takes no signal but SIGKILL before it goes on, signal(7)
        elif action == KILL_ALL:
            self.log.tell(INFORMATION, "killing_all")
            return send_to_all(SIGKILL)
        return True
