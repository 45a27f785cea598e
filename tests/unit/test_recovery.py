"""An error while pyinit handles an error ends neither the supervisor's loop nor that of the pause.

The errors are those of a process without memory, where each step may raise MemoryError. No process is started.
"""

from __future__ import annotations

import signal
from typing import Optional

import pytest

from pyinit.log import Log
from pyinit.options import Options
from pyinit.supervisor import loop, pause
from pyinit.supervisor.reaper import WaitReaper


class Unprintable(Exception):
    """An error whose text needs more memory than there is."""

    def __repr__(self) -> str:
        raise MemoryError


class Broken(WaitReaper):
    """A reaper whose waits fail three times. Then SIGTERM comes, and the main child ends with exit code 7."""

    def __init__(self) -> None:
        super().__init__()
        self.left = 3

    def wait(self, timeout: float = -1.0) -> int:
        if self.left:
            self.left -= 1
            raise Unprintable
        return signal.SIGTERM

    def drain(self) -> Optional[int]:
        return None if self.left else 7 << 8

    def send(self, number: int, to_group: bool = False) -> None:
        raise ProcessLookupError


def fail(*_: object) -> int:
    """Raise what any call may raise."""
    raise MemoryError


@pytest.fixture(params=["text", "message", "rest"])
def log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Log:
    """Return a log; the text of an error, the call that logs it or the rest after it fails."""
    for module in (loop, pause):
        monkeypatch.setattr(module, "rest", fail if request.param == "rest" else lambda: None)
    if request.param == "message":
        monkeypatch.setattr(Unprintable, "__repr__", lambda self: "printable")
        monkeypatch.setattr(Log, "tell", fail)
    return Log(-1)


def test_supervisor(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs until the main child has ended, and learns its exit code."""
    monkeypatch.setattr(loop, "spawn", lambda *_: 1 << 22)
    monkeypatch.setattr(loop.Supervisor, "prepare", lambda self: None)
    monkeypatch.setattr(loop.Supervisor, "leave", lambda self: loop.exit_code(self.status))
    monkeypatch.setattr(loop.Supervisor, "settle_down", fail)
    monkeypatch.setattr(loop.Supervisor, "forward", fail)
    supervisor = loop.Supervisor(Options(command=["true"]), None, log)
    supervisor.reaper = Broken()
    assert len(supervisor.reserve) == loop.RESERVE
    assert supervisor.run() == 7
    assert not supervisor.reserve  # given back, so that there is memory to go on with


def test_pause(log: Log) -> None:
    assert pause.reap_until_stopped(Broken(), log) == signal.SIGTERM
