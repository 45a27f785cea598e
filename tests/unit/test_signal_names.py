"""Signal names and numbers are read and shown correctly; as tables."""

from __future__ import annotations

import signal

import pytest

from pyinit.linux.signal_names import parse_signal, signal_name

GOOD = {
    "TERM": 15, "term": 15, "SIGTERM": 15, "sigterm": 15, "SigTerm": 15, "15": 15, "015": 15, " TERM ": 15,
    "HUP": 1, "1": 1, "64": 64, "KILL": 9, "CHLD": signal.SIGCHLD, "CLD": signal.SIGCHLD, "IOT": signal.SIGABRT,
    "POLL": signal.SIGIO, "IO": signal.SIGIO, "PWR": signal.SIGPWR, "SYS": signal.SIGSYS, "WINCH": signal.SIGWINCH,
    "RTMIN": 34, "SIGRTMIN": 34, "RTMIN+0": 34, "RTMIN+3": 37, "sigrtmin+3": 37, "RTMIN+30": 64, "RTMAX": 64,
    "RTMAX-0": 64, "RTMAX-3": 61, "RTMAX-30": 34,
}
BAD = ["", " ", "SIG", "0", "-1", "65", "999999999999", "1.5", "1e1", "+15", "0x0f", "TERMINATE", "SIGSIGTERM", "_DFL",
       "SIG_DFL", "SIG_BLOCK", "BLOCK", "RTMIN-1", "RTMIN+31", "RTMAX+1", "RTMAX-31", "RTMIN+", "RTMIN+-3", "RTMIN+x",
       "RTMIN 3", "TERM+1", "TERM,HUP", "TER M", "\u017fIGTERM", "\xa0TERM", "1_5", "\udcff",
       "٣", "²", "RTMIN+٣", "TERM\0", "32", "33"]


@pytest.mark.parametrize("text", GOOD)
def test_signals_that_are_read(text: str) -> None:
    assert parse_signal(text) == GOOD[text]


@pytest.mark.parametrize("text", BAD, ids=ascii)
def test_signals_that_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_signal(text)


def test_every_name_is_read_back() -> None:
    for number in signal.valid_signals():
        assert parse_signal(signal_name(number)) == number


def test_names_that_are_shown() -> None:
    shown = {15: "SIGTERM", 6: "SIGABRT", 17: "SIGCHLD", 29: "SIGIO", 34: "SIGRTMIN", 35: "SIGRTMIN+1",
             63: "SIGRTMIN+29", 64: "SIGRTMAX", 32: "32", 99: "99"}
    assert {number: signal_name(number) for number in shown} == shown


def test_all_that_the_standard_module_knows() -> None:
    for member in signal.Signals:
        assert parse_signal(member.name) == member
        assert parse_signal(member.name[3:].lower()) == member
        assert parse_signal(str(int(member))) == member
