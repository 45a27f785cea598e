"""A storm gives the correct verdict on an init from what it has seen; as a table."""

from __future__ import annotations

import pytest

from benchmarks.verdict import BAD, GOOD, UNKNOWN, Seen, judge

MS = 1_000_000  # nanoseconds
WITHIN = 0.5


def sees(left: int = 0, **fields: object) -> Seen:
    """Return what a storm of 100 orphans has seen: `left` zombies, and waits of 1 ms for the others."""
    return Seen(**{"made": 100, "left": left, "waits": [MS] * (100 - left), **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize("seen, code, parts", [
    (sees(), GOOD, ["GOOD: all 100 orphans were reaped in time", "longest wait was 1.00 ms", "exit code came through"]),
    (sees(has_main=False), GOOD, ["GOOD: all 100 orphans"]),
    (sees(waits=[], by_kernel=True), GOOD, ["the kernel frees them while they exit"]),
    (sees(waits=[500 * MS] * 100), GOOD, ["GOOD"]),
    (sees(waits=[MS] * 99 + [501 * MS]), BAD, ["it reaps late. 1 of 100 zombies waited for longer than 500 ms"]),
    (sees(waits=[10 * MS * step for step in range(100)]), BAD, ["it reaps late. 49 of 100", "the longest for 990 ms",
                                                               "look for zombies at fixed times"]),
    (sees(1), BAD, ["it leaves zombies. 1 of 100", "until no zombie is left"]),
    (sees(100), BAD, ["it reaps its main child only. All 100"]),
    (sees(100, code=None), BAD, ["it does not reap. All 100", "It did not end when its main child did"]),
    (sees(100, has_main=False), BAD, ["it does not reap. All 100"]),
    (sees(code=0), BAD, ["the main child ended with code 42, and the init with code 0"]),
    (sees(died=0), BAD, ["it died. It ended with code 0"]),
    (sees(made=0, died=137), BAD, ["it died. It ended by signal 9"]),
    (sees(made=0, waits=[]), UNKNOWN, ["no orphan could be made"]),
    (sees(waits=[]), UNKNOWN, ["no wait was measured"]),
])
def test_an_init_is_judged_by_what_was_seen(seen: Seen, code: int, parts: list[str]) -> None:
    found, lines = judge(seen, WITHIN)
    assert found == code
    assert [part for part in parts if part not in "\n".join(lines)] == []
    assert all(len(line) <= 140 for line in lines)


def test_a_late_init_that_is_woken_is_not_said_to_poll() -> None:
    assert "fixed times" not in "\n".join(judge(sees(waits=[MS] * 99 + [501 * MS]), WITHIN)[1])


def test_the_problems_of_one_init_are_all_told() -> None:
    _, lines = judge(sees(10, code=1, waits=[600 * MS] * 90), WITHIN)
    text = "\n".join(lines)
    assert "leaves zombies" in text and "reaps late" in text and "ended with code 42" in text
