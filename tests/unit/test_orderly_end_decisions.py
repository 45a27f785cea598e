"""The orderly end waits for the right time and leaves at the right moment; as tables, with a stand-in for /proc."""

from __future__ import annotations

import errno
import signal
from time import monotonic
from types import SimpleNamespace
from typing import Optional, Union

import pytest

from pyinit.child import descendants
from pyinit.linux import procfs
from pyinit.log import Log
from pyinit.options import Options
from pyinit.supervisor.orderly_end import LOOK_AGAIN, OrderlyEnd
from pyinit.supervisor.reaper import WaitReaper


def make_end(**options) -> OrderlyEnd:
    """Return an orderly end with the given options."""
    return OrderlyEnd(Options(**options), Log(0, lambda: None))


@pytest.mark.parametrize("left, strangers, least, most", [
    (None, False, -1, -1), (None, True, LOOK_AGAIN, LOOK_AGAIN), (-5, False, 0, 0), (-5, True, 0, 0),
    (1000, False, 900, 1000), (1000, True, LOOK_AGAIN, LOOK_AGAIN), (LOOK_AGAIN / 2, True, 0, LOOK_AGAIN / 2)])
def test_how_long_it_waits(left: Optional[float], strangers: bool, least: float, most: float) -> None:
    """The timeout is in seconds until the deadline, or until the next look for strangers. It is not negative when the
    deadline has just passed, as that would mean to wait forever.
    """
    end = make_end(grace=0)
    if left is not None:
        end.shutdown.deadline = monotonic() + left
    end.strangers = strangers
    assert least <= end.timeout() <= most


@pytest.mark.parametrize("grace, found, leaves", [(0, False, True), (0, True, False), (1000, False, False)])
def test_it_leaves_when_none_to_be_killed_can_be_found(monkeypatch, grace: float, found: bool, leaves: bool) -> None:
    """Without a process to kill it leaves, as it could wait in vain."""
    monkeypatch.setattr("pyinit.supervisor.orderly_end.send_to_all", lambda number: found)
    reaper = WaitReaper()
    assert make_end(grace=grace).advance(signal.SIGCHLD, 0, reaper) == leaves


@pytest.mark.parametrize("itself, found, sent", [
    ("7", True, [(8, 15), (9, 15)]), ("700", False, []), (None, False, [])])
def test_proc_of_another_namespace(monkeypatch, itself: Optional[str], found: bool, sent: list) -> None:
    """With the /proc of another namespace, whose PIDs are other processes, or without /proc, no signal is sent."""
    kills = []

    def readlink(path: str) -> str:
        assert path == "/proc/self"
        if itself is None:
            raise FileNotFoundError
        return itself

    monkeypatch.setattr(descendants, "posix", SimpleNamespace(getpid=lambda: 7, readlink=readlink,
                                                            kill=lambda *arguments: kills.append(arguments)))
    monkeypatch.setattr(descendants, "descendants", lambda ancestor: [8, 9] if ancestor == 7 else [])
    assert (descendants.send_to_all(15), kills) == (found, sent)


GONE, HIDDEN = FileNotFoundError(errno.ENOENT, ""), PermissionError(errno.EPERM, "")
ENDED, FULL = ProcessLookupError(errno.ESRCH, ""), OSError(errno.EMFILE, "")


@pytest.mark.parametrize("listing, stats, found, sent", [
    ([8, 9], {8: 7, 9: 8}, True, [(8, 15), (9, 15)]),
    ([6, 8, 9], {6: 1, 8: 7, 9: 1}, True, [(8, 15)]),
    ([8, 9], {8: GONE, 9: 7}, True, [(9, 15)]),
    ([8, 9], {8: ENDED, 9: 7}, True, [(9, 15)]),
    ([8, 9], {8: HIDDEN, 9: 7}, True, [(9, 15)]),
    ([8, 9], {8: 7, 9: FULL}, False, []),
    ([8, 9], {8: 7, 9: OSError(errno.ENFILE, "")}, False, []),
    ([6], {6: 1}, False, []),
    (FULL, {}, False, []),
])
def test_descendants_that_cannot_be_found(monkeypatch, listing: Union[list, OSError], stats: dict, found: bool,
                                          sent: list) -> None:
    """A process that has ended or is hidden is left out. Without a descriptor to read /proc, or without a descendant,
    nobody is said to have got the signal.
    """
    kills = []

    def answer(value):
        if isinstance(value, OSError):
            raise value
        return value

    monkeypatch.setattr(descendants, "posix", SimpleNamespace(getpid=lambda: 7,
                                                            kill=lambda *arguments: kills.append(arguments)))
    monkeypatch.setattr(descendants, "has_own_proc", lambda: True)
    monkeypatch.setattr(procfs, "list_processes", lambda: answer(listing))
    monkeypatch.setattr(procfs, "read_stat", lambda pid: ["S", str(answer(stats[pid]))])
    assert (descendants.send_to_all(15), kills) == (found, sent)
