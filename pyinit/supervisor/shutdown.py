"""The end of a container as a state machine, without a system call: what comes next, and until when.

    RUNNING --- main child ended, --wait-all ---> LINGERING --- termination signal, --grace ---> ENDING
    RUNNING --- main child ended, --grace ---> ENDING --- deadline, termination signal ---> KILLING
    RUNNING --- termination signal, --kill-after seconds ---> SIGKILL to the main child

ENDING begins with SIGTERM to all, KILLING with SIGKILL. It is over as soon as no process is left; at once when the main
child has ended and neither --grace nor --wait-all is given; and some seconds after SIGKILL, for processes that pyinit
may not kill (another user's, without CAP_KILL) or that do not end (waiting for a device).
"""

from __future__ import annotations

RUNNING, LINGERING, ENDING, KILLING = "running", "lingering", "ending", "killing"
# What the supervisor is to do.
NOTHING, KILL_MAIN, TERMINATE_ALL, KILL_ALL, LEAVE = "nothing", "kill main", "terminate all", "kill all", "leave"

NEVER = -1.0
PATIENCE = 2.0  # seconds after SIGKILL


class Shutdown:
    """The stage, and the deadline in seconds of the caller's clock; NEVER is none."""

    __slots__ = ("grace", "wait_all", "kill_after", "stage", "deadline", "stopping")

    def __init__(self, grace: float = NEVER, wait_all: bool = False, kill_after: float = NEVER) -> None:
        """Durations in seconds; NEVER is not to."""
        self.grace = grace
        self.wait_all = wait_all
        self.kill_after = kill_after
        self.stage = RUNNING
        self.deadline = NEVER
        self.stopping = False  # whether a termination signal has come

    def stop(self, now: float) -> str:
        """A termination signal has come, and was forwarded; return what to do."""
        again, self.stopping = self.stopping, True
        if self.stage == LINGERING and self.grace != NEVER:
            return self.end(now)
        if self.stage == ENDING:
            return self.kill(now)
        if self.stage != KILLING and self.kill_after != NEVER and not again:
            self.deadline = now + self.kill_after
        return NOTHING

    def main_ended(self, now: float, childless: bool) -> str:
        """The main child has ended; return what to do."""
        if childless or not self.wait_all and self.grace == NEVER:
            return LEAVE
        if self.wait_all and not (self.stopping and self.grace != NEVER):
            self.stage = LINGERING  # a deadline of --kill-after stays, for all
            return NOTHING
        return self.end(now)

    def child_ended(self, childless: bool) -> str:
        """Others have ended; return what to do."""
        if self.stage == RUNNING:
            return NOTHING
        if childless:
            return LEAVE
        # What was forked while the others were killed.
        return KILL_ALL if self.stage == KILLING else NOTHING

    def expire(self, now: float) -> str:
        """The deadline may have come; return what to do."""
        if self.deadline == NEVER or now < self.deadline:
            return NOTHING
        if self.stage == RUNNING:
            self.deadline = NEVER
            return KILL_MAIN
        return LEAVE if self.stage == KILLING else self.kill(now)

    def end(self, now: float) -> str:
        """Begin the grace."""
        self.stage, self.deadline = ENDING, now + self.grace
        return TERMINATE_ALL

    def kill(self, now: float) -> str:
        """End the grace."""
        self.stage, self.deadline = KILLING, now + PATIENCE
        return KILL_ALL
