"""The state machine of a container's end takes the right action at each event; a table, without a process."""

from __future__ import annotations

import pytest

from pyinit.supervisor.shutdown import (CONTINUE_ALL, ENDING, KILL_ALL, KILL_MAIN, KILLING, LEAVE, LINGERING, NEVER,
                                        NOTHING, RUNNING, TERMINATE_ALL, Shutdown)

# Events: a method of Shutdown and its arguments.
STOP_AT_0, STOP_AT_1, STOP_AT_5 = ("stop", 0.0), ("stop", 1.0), ("stop", 5.0)
STOP_FROM_KEYBOARD_AT_5 = ("stop", 5.0, True)
MAIN_ENDS_AT_2, MAIN_ENDS_LAST = ("main_ended", 2.0, False), ("main_ended", 2.0, True)
CHILD_ENDS, LAST_ENDS = ("child_ended", False), ("child_ended", True)
AT_3, AT_9, AT_10, AT_12, AT_99 = (("expire", moment) for moment in (3.0, 9.0, 10.0, 12.0, 99.0))

# settings, then events, each with the action, and the stage and deadline after it
TABLE = {
    "nothing asked for: leave with the main child": ({}, [
        (STOP_AT_0, NOTHING, RUNNING, NEVER),
        (MAIN_ENDS_AT_2, LEAVE, RUNNING, NEVER)]),
    "grace: SIGTERM to all, SIGKILL at the deadline": ({"grace": 10}, [
        (CHILD_ENDS, NOTHING, RUNNING, NEVER),
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 12.0),
        (CHILD_ENDS, NOTHING, ENDING, 12.0),
        (AT_10, NOTHING, ENDING, 12.0),
        (AT_12, KILL_ALL, KILLING, 14.0),
        (CHILD_ENDS, KILL_ALL, KILLING, 14.0),  # it may have forked
        (LAST_ENDS, LEAVE, KILLING, 14.0)]),
    "grace: who is left after SIGKILL is left": ({"grace": 0}, [
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 2.0),
        (AT_3, KILL_ALL, KILLING, 5.0),
        (CHILD_ENDS, KILL_ALL, KILLING, 5.0),
        (STOP_AT_5, NOTHING, KILLING, 5.0),
        (AT_9, LEAVE, KILLING, 5.0)]),
    "grace: leave with the last one": ({"grace": 10}, [
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 12.0),
        (LAST_ENDS, LEAVE, ENDING, 12.0)]),
    "grace: nobody is left": ({"grace": 10}, [
        (MAIN_ENDS_LAST, LEAVE, RUNNING, NEVER)]),
    "grace: the last of others is not the end": ({"grace": 10}, [
        (LAST_ENDS, NOTHING, RUNNING, NEVER)]),
    "grace of 0 kills at once": ({"grace": 0}, [
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 2.0),
        (AT_3, KILL_ALL, KILLING, 5.0)]),
    "grace that no termination signal began: the second one cuts it short": ({"grace": 10}, [
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 12.0),
        (STOP_AT_5, NOTHING, ENDING, 12.0),
        (STOP_AT_5, KILL_ALL, KILLING, 7.0)]),
    "grace: a second termination signal cuts it short": ({"grace": 10}, [
        (STOP_AT_1, NOTHING, RUNNING, NEVER),
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 12.0),
        (STOP_AT_5, KILL_ALL, KILLING, 7.0),
        (STOP_AT_5, NOTHING, KILLING, 7.0)]),
    "wait-all: no signal, no deadline": ({"wait_all": True}, [
        (MAIN_ENDS_AT_2, NOTHING, LINGERING, NEVER),
        (CHILD_ENDS, NOTHING, LINGERING, NEVER),
        (STOP_AT_5, NOTHING, LINGERING, NEVER),
        (AT_99, NOTHING, LINGERING, NEVER),
        (LAST_ENDS, LEAVE, LINGERING, NEVER)]),
    "wait-all: nobody is left": ({"wait_all": True}, [
        (MAIN_ENDS_LAST, LEAVE, RUNNING, NEVER)]),
    "wait-all and grace: it begins with the termination signal": ({"wait_all": True, "grace": 4}, [
        (MAIN_ENDS_AT_2, NOTHING, LINGERING, NEVER),
        (STOP_AT_5, CONTINUE_ALL, ENDING, 9.0),  # it was forwarded to all
        (AT_9, KILL_ALL, KILLING, 11.0)]),
    "wait-all and grace: SIGTERM follows a signal that many processes ignore": ({"wait_all": True, "grace": 4}, [
        (MAIN_ENDS_AT_2, NOTHING, LINGERING, NEVER),
        (STOP_FROM_KEYBOARD_AT_5, TERMINATE_ALL, ENDING, 9.0)]),
    "wait-all and grace: it begins at once if the signal came before": ({"wait_all": True, "grace": 10}, [
        (STOP_AT_1, NOTHING, RUNNING, NEVER),
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 12.0)]),
    "kill-after: SIGKILL to the main child": ({"kill_after": 9}, [
        (AT_3, NOTHING, RUNNING, NEVER),
        (STOP_AT_1, NOTHING, RUNNING, 10.0),
        (AT_9, NOTHING, RUNNING, 10.0),
        (AT_10, KILL_MAIN, RUNNING, NEVER),
        (MAIN_ENDS_AT_2, LEAVE, RUNNING, NEVER)]),
    "kill-after: a second signal does not put it off": ({"kill_after": 9}, [
        (STOP_AT_0, NOTHING, RUNNING, 9.0),
        (STOP_AT_5, NOTHING, RUNNING, 9.0)]),
    "kill-after, then grace": ({"kill_after": 9, "grace": 10}, [
        (STOP_AT_0, NOTHING, RUNNING, 9.0),
        (AT_9, KILL_MAIN, RUNNING, NEVER),
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 12.0),
        (AT_12, KILL_ALL, KILLING, 14.0)]),
    "kill-after does not put off the end": ({"kill_after": 9, "grace": 0}, [
        (MAIN_ENDS_AT_2, TERMINATE_ALL, ENDING, 2.0),
        (AT_3, KILL_ALL, KILLING, 5.0),
        (STOP_AT_5, NOTHING, KILLING, 5.0)]),
    "kill-after of 0 kills at once": ({"kill_after": 0}, [
        (STOP_AT_1, NOTHING, RUNNING, 1.0),
        (AT_3, KILL_MAIN, RUNNING, NEVER)]),
    "kill-after while waiting for all": ({"kill_after": 5, "wait_all": True}, [
        (MAIN_ENDS_AT_2, NOTHING, LINGERING, NEVER),
        (STOP_AT_5, NOTHING, LINGERING, 10.0),
        (AT_10, KILL_ALL, KILLING, 12.0)]),
    "kill-after goes on for all when the main child ends in time": ({"kill_after": 9, "wait_all": True}, [
        (STOP_AT_0, NOTHING, RUNNING, 9.0),
        (MAIN_ENDS_AT_2, NOTHING, LINGERING, 9.0),
        (AT_9, KILL_ALL, KILLING, 11.0)]),
    "kill-after begins anew for all when it has killed the main child": ({"kill_after": 1, "wait_all": True}, [
        (STOP_AT_0, NOTHING, RUNNING, 1.0),
        (("expire", 1.0), KILL_MAIN, RUNNING, NEVER),
        (MAIN_ENDS_AT_2, NOTHING, LINGERING, 3.0),
        (("stop", 2.5), NOTHING, LINGERING, 3.0),
        (AT_3, KILL_ALL, KILLING, 5.0)]),
    "kill-after begins for all only with a termination signal": ({"kill_after": 1, "wait_all": True}, [
        (MAIN_ENDS_AT_2, NOTHING, LINGERING, NEVER),
        (AT_99, NOTHING, LINGERING, NEVER)]),
}


@pytest.mark.parametrize("case", TABLE)
def test_stages(case: str) -> None:
    settings, events = TABLE[case]
    shutdown = Shutdown(**settings)
    for (name, *arguments), action, stage, deadline in events:
        done = getattr(shutdown, name)(*arguments)
        assert (done, shutdown.stage, shutdown.deadline) == (action, stage, deadline), name
