"""The end of a container as a state machine, without a system call: what comes next, and until when.

    RUNNING --- main child ended, --wait-all ---> LINGERING --- termination signal, --grace ---> ENDING
    RUNNING --- main child ended, --grace ---> ENDING --- deadline, second termination signal ---> KILLING
    RUNNING --- termination signal, --kill-after seconds ---> SIGKILL to the main child

ENDING begins with SIGTERM to all, or with the termination signal that has just been forwarded to all; KILLING begins
with SIGKILL. pyinit leaves as soon as no process is left; at once when the main child has ended and neither --grace nor
--wait-all is given; and some seconds after SIGKILL, for processes that pyinit may not kill (another user's, without
CAP_KILL) or that do not end (waiting for a device).
"""

from __future__ import annotations

RUNNING, LINGERING, ENDING, KILLING = "running", "lingering", "ending", "killing"
# What the supervisor has to do.
NOTHING, KILL_MAIN, TERMINATE_ALL, KILL_ALL, LEAVE = "nothing", "kill main", "terminate all", "kill all", "leave"
CONTINUE_ALL = "continue all"

NEVER = -1.0
PATIENCE = 2.0  # seconds after SIGKILL


class Shutdown:
    """The stage, and the deadline in seconds of the caller's clock, or NEVER."""

    __slots__ = ("grace", "wait_all", "kill_after", "stage", "deadline", "stopping")

    def __init__(self, grace: float = NEVER, wait_all: bool = False, kill_after: float = NEVER) -> None:
        """Set the durations in seconds; NEVER turns one off."""
        self.grace = grace
        self.wait_all = wait_all
        self.kill_after = kill_after
        self.stage = RUNNING
        self.deadline = NEVER
        self.stopping = False  # whether a termination signal has come

    def stop(self, now: float, often_ignored: bool = False) -> str:
        """Note that a termination signal has arrived and was forwarded; return what to do. often_ignored: whether the
        processes that got it may need SIGTERM, too.
        """
        again, self.stopping = self.stopping, True
        if self.stage == LINGERING and self.grace != NEVER:
            action = self.end(now)
            return action if often_ignored else CONTINUE_ALL  # a second signal can cut a graceful end short
        if self.stage == ENDING:
            return self.kill(now) if again else NOTHING
        if self.stage != KILLING and self.kill_after != NEVER and not again:
            self.deadline = now + self.kill_after
        return NOTHING

    def main_ended(self, now: float, childless: bool) -> str:
        """Note that the main child has ended; return what to do."""
        if childless or not self.wait_all and self.grace == NEVER:
            return LEAVE
        if self.wait_all and not (self.stopping and self.grace != NEVER):
            self.stage = LINGERING  # a deadline of --kill-after stays, and is now one for all
            if self.stopping and self.kill_after != NEVER and self.deadline == NEVER:
                self.deadline = now + self.kill_after  # it has expired for the main child
            return NOTHING
        return self.end(now)

    def child_ended(self, childless: bool) -> str:
        """Note that other children have ended; return what to do."""
        if self.stage == RUNNING:
            return NOTHING
        if childless:
            return LEAVE
        # Kill what was forked while the others were killed.
        return KILL_ALL if self.stage == KILLING else NOTHING

    def expire(self, now: float) -> str:
        """Check the deadline; return what to do."""
        if self.deadline == NEVER or now < self.deadline:
            return NOTHING
        if self.stage == RUNNING:
            self.deadline = NEVER
            return KILL_MAIN
        return LEAVE if self.stage == KILLING else self.kill(now)

    def end(self, now: float) -> str:
        """Begin the grace period; return what to do."""
        self.stage, self.deadline = ENDING, now + self.grace
        return TERMINATE_ALL

    def kill(self, now: float) -> str:
        """End the grace period; return what to do."""
        self.stage, self.deadline = KILLING, now + PATIENCE
        return KILL_ALL
