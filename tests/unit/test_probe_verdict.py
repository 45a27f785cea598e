"""A probe's finding gives the right answer, with the same words in the lean probe; as a table."""

from __future__ import annotations

import pytest

from pyinit.lean import probe as lean
from pyinit.zombies.analyse.verdicts import REMEDY, explain_probe
from pyinit.zombies.collect.probe import INTERVAL, LOOKS, SECONDS, Finding, is_reaped

INIT, SUBREAPER = REMEDY, "it is a subreaper, prctl(2), and no init helps: fix its wait"
LEFT = "; the orphan, PID 44, is now a zombie until PID {} waits for it or ends"

VERDICTS = [
    (Finding(44, 1, "tini", True), "reaped: tini (PID 1) adopted an orphan and reaped it within 2 seconds"),
    (Finding(44, 7, "systemd", True), "reaped: systemd (PID 7) adopted an orphan and reaped it within 2 seconds"),
    (Finding(44, 1, "", True), "reaped: a process (PID 1) adopted an orphan and reaped it within 2 seconds"),
    (Finding(44, 1, "sleep", False), "not reaped: sleep (PID 1) adopted an orphan and has not reaped it after 2 "
     f"seconds: {INIT}{LEFT.format(1)}"),
    (Finding(44, 7, "chrome", False), "not reaped: chrome (PID 7) adopted an orphan and has not reaped it after 2 "
     f"seconds: {SUBREAPER}{LEFT.format(7)}"),
]


@pytest.mark.parametrize("finding, line", VERDICTS)
def test_verdict(finding: Finding, line: str) -> None:
    assert explain_probe(finding) == line
    assert compose(finding) == line + "\n"


def compose(finding: Finding) -> str:
    """Return the line of the lean probe, composed of its pieces."""
    name, parent, orphan = finding.name.encode() or lean.NAMELESS, b"%d" % finding.parent, b"%d" % finding.orphan
    if finding.reaped:
        return (lean.REAPED + name + lean.PID + parent + lean.DID_REAP).decode()
    remedy = lean.REMEDY if finding.parent == 1 else lean.SUBREAPER
    return (lean.NOT_REAPED + name + lean.PID + parent + lean.DID_NOT_REAP + remedy + lean.WHICH + orphan + lean.UNTIL
            + parent + lean.END).decode()


def test_both_look_as_often() -> None:
    assert (lean.LOOKS, lean.INTERVAL) == (LOOKS, INTERVAL * 10 ** 9)
    assert LOOKS * INTERVAL == SECONDS


def test_machine_that_stands_still_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The probe goes on looking when it has waited for longer than it asked for."""
    alive = iter([True, True, False])
    clock = [0.0]

    def kill(pid: int, number: int) -> None:
        if not next(alive):
            raise ProcessLookupError

    monkeypatch.setattr("os.kill", kill)
    monkeypatch.setattr("time.sleep", lambda seconds: clock.append(clock[-1] + 10 * SECONDS))
    monkeypatch.setattr("time.monotonic", lambda: clock[-1])
    assert is_reaped(44)
