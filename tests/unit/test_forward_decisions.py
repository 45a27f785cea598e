"""forward() drops a signal only if the rewriting says so, whatever the kernel answers; a table with a stand-in for the
main child.
"""

from __future__ import annotations

import posix
import signal
from typing import Optional

import pytest

from pyinit.linux.signals import EntryState
from pyinit.log import Log
from pyinit.options import Options
from pyinit.supervisor.loop import Supervisor
from pyinit.supervisor.orderly_end import OrderlyEnd
from pyinit.supervisor.reaper import WaitReaper

TERM, QUIT = signal.SIGTERM, signal.SIGQUIT


class StandIn(WaitReaper):
    """A main child to which signals cannot be sent, for the given reason, and its wait status, None while it runs."""

    def __init__(self, error: Optional[OSError], status: Optional[int]) -> None:
        super().__init__()
        self.error = error
        self.ended = status

    def send(self, number: int, to_group: bool = False) -> None:
        if self.error:
            raise self.error

    def drain(self) -> Optional[int]:
        return self.ended


@pytest.mark.parametrize("rewrite, error, status, options, counts_as, again", [
    ({}, None, None, {}, TERM, []),
    ({TERM: QUIT}, None, None, {}, QUIT, []),
    ({TERM: 0}, None, None, {}, 0, []),
    ({TERM: 0}, PermissionError(), None, {}, 0, []),
    ({}, PermissionError(), None, {}, TERM, []),
    ({}, ProcessLookupError(), None, {"wait_all": True}, TERM, []),  # its end cannot be seen yet: no endless retry
    ({}, ProcessLookupError(), 0, {}, TERM, []),  # pyinit leaves
    ({}, ProcessLookupError(), 0, {"wait_all": True}, 0, [TERM]),
    ({TERM: QUIT}, ProcessLookupError(), 0, {"grace": 1}, 0, [TERM]),
])
def test_what_counts(monkeypatch, rewrite: dict, error: Optional[OSError], status: Optional[int], options: dict,
                     counts_as: int, again: list) -> None:
    """The signal counts as the one returned. It is taken again, for the others, if the main child has ended before."""
    taken_again: list[int] = []
    monkeypatch.setattr(posix, "kill", lambda pid, number: taken_again.append(number))
    entry = object.__new__(EntryState)  # its constructor would change the dispositions of this process
    supervisor = Supervisor(Options(rewrite=rewrite, **options), entry, Log(0))
    supervisor.reaper = StandIn(error, status)
    supervisor.end = OrderlyEnd(supervisor.options, supervisor.log) if options else None
    assert (supervisor.forward(TERM), taken_again, supervisor.status) == (counts_as, again, status)
