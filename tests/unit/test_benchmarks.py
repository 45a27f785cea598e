"""The benchmark harness calculates percentiles, plans, trace events, ratios and tables correctly."""

from __future__ import annotations

import argparse
import re
import struct

import pytest

from benchmarks import cli, inits, namespaces, pacing, percentiles, reaps, report, ringbuffer, tracing
from benchmarks.experiments import start
from benchmarks.inits import AGAIN, INIT, PAUSE
from benchmarks.ringbuffer import Event

SECOND = 1_000_000_000  # nanoseconds

FORMAT = """name: sys_exit_wait4
ID: 300
format:
\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;
\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;

\tfield:int __syscall_nr;\toffset:8;\tsize:4;\tsigned:1;
\tfield:long ret;\toffset:16;\tsize:8;\tsigned:1;

print fmt: "0x%lx", REC->ret
"""


def test_percentile_is_the_nearest_rank() -> None:
    values = list(range(1, 101))
    assert [percentiles.percentile(values, percent) for percent in (1, 50, 90, 99)] == [1, 50, 90, 99]
    assert percentiles.percentile([7], 0) == 7


def test_percentile_needs_enough_values() -> None:
    assert percentiles.percentile(list(range(999)), 99.9) is None
    assert percentiles.percentile(list(range(1000)), 99.9) == 998
    assert percentiles.percentile([], 50) is None


def test_summary_of_nothing_is_empty() -> None:
    assert percentiles.summarise([]) == {"n": 0, "p50": None, "p90": None, "p99": None, "p99.9": None, "max": None}


def test_median() -> None:
    assert percentiles.median([3, 1, 2]) == 2
    assert percentiles.median([4, 1, 2, 3]) == 2.5
    assert percentiles.median([]) is None


@pytest.mark.parametrize("count", [2, 3, 10, 1000, 12345])
def test_curve_rises_from_the_median_to_the_maximum(count: int) -> None:
    line = percentiles.curve(list(range(count, 0, -1)))
    assert line[-1] == (1 / count, count)
    assert all(left[0] >= right[0] and left[1] <= right[1] for left, right in zip(line, line[1:]))
    assert len(line) <= 201


def test_curve_needs_two_values() -> None:
    assert percentiles.curve([1]) == []


def test_a_plan_does_not_drift() -> None:
    instants = [pacing.planned_instant(1000, 3, index) for index in range(3_000_001)]
    assert instants[0] == 1000 and instants[3] == 1000 + SECOND
    assert instants[3_000_000] == 1000 + 1_000_000 * SECOND


def test_latency_from_the_plan_holds_the_generators_delay() -> None:
    """Orphan 1 was due at 1,000,000 ns, came at 6,000,000 ns and was reaped 10 ns later: its latency is 5 ms."""
    assert pacing.latencies_from_plan([(0, 10), (1, 6_000_010)], 0, 1000) == [10, 5_000_010]


def test_late_share_and_rate() -> None:
    answer = {"made": 90, "refused": 10, "late": 25, "start": 0, "end": SECOND // 2}
    assert pacing.late_share(answer) == 0.25
    assert pacing.achieved_rate(answer) == 180


def record(number: int, pid: int, value: int) -> bytes:
    """Return a sys_exit event in the kernel's layout."""
    return struct.pack("<HBBiiiq", number, 0, 0, pid, 61, 0, value)


def page(*parts: bytes, time: int = 1000, flags: int = 0) -> bytes:
    """Return a page of the ring buffer."""
    data = b"".join(parts)
    return (struct.pack("<QQ", time, len(data) | flags) + data).ljust(4096, b"\0")


def header(kind: int, delta: int) -> bytes:
    """Return the first word of an event."""
    return struct.pack("<I", delta << 5 | kind)


def test_ring_buffer_events() -> None:
    form = ringbuffer.Format("wait4", FORMAT, tracing.FIELDS)
    body = record(300, 42, -10)
    pages = [page(header(len(body) // 4, 5), body,
                  header(ringbuffer.TIME_EXTEND, 1), struct.pack("<I", 2),
                  header(0, 7), struct.pack("<I", len(body) + 4), body,
                  header(ringbuffer.PADDING, 3), struct.pack("<I", 8), b"\xff" * 4,
                  header(1, 0), struct.pack("<HH", 999, 0),
                  header(len(body) // 4, 1), record(300, 43, 77))]
    events = list(ringbuffer.decode(iter(pages), {300: form}))
    late = 1005 + (2 << 27) + 1 + 7
    assert events == [Event(1005, 42, "wait4", {"ret": -10}), Event(late, 42, "wait4", {"ret": -10}),
                      Event(late + 4, 43, "wait4", {"ret": 77})]


def test_ring_buffer_absolute_time_keeps_the_top_bits() -> None:
    body = record(300, 1, 0)
    top = 1 << 60
    data = page(header(ringbuffer.TIME_STAMP, 9), struct.pack("<I", 1), header(len(body) // 4, 1), body, time=top)
    assert [time for time, _ in ringbuffer.read_page(data)] == [top + (1 << 27) + 9 + 1]


def test_ring_buffer_ends_at_the_commit_and_at_padding() -> None:
    body = record(300, 1, 0)
    whole = header(len(body) // 4, 1) + body
    assert len(list(ringbuffer.read_page(page(whole) + whole))) == 1
    assert len(list(ringbuffer.read_page(page(whole, header(ringbuffer.PADDING, 0), whole)))) == 1
    assert list(ringbuffer.read_page(page())) == []


def test_ring_buffer_tells_of_missed_events() -> None:
    assert ringbuffer.missed(page(flags=ringbuffer.MISSED_EVENTS))
    assert not ringbuffer.missed(page())


def fork(time: int, parent: int, child: int, number: int) -> list[Event]:
    """Return the two events of a fork. child: the child's global PID. number: its PID in the namespace."""
    return [Event(time, parent, tracing.FORK, {"child_pid": child}),
            Event(time + 1, parent, tracing.CLONES[0], {"ret": number})]


def sigchld(time: int, task: int) -> Event:
    return Event(time, task, tracing.SIGNAL, {"sig": 17, "pid": 1, "result": 0, "code": 1})


def wait4(time: int, value: int) -> Event:
    return Event(time, 100, tracing.WAITS[0], {"ret": value})


def test_an_orphan_that_exits_after_its_parent() -> None:
    events = [*fork(10, 200, 201, 5), *fork(20, 201, 202, 6), sigchld(50, 202), wait4(70, 6), wait4(75, 0)]
    result = reaps.match(events)
    assert [(reap.order, reap.latency) for reap in result.reaps] == [(0, 20)]
    assert (result.waits, result.unmatched) == (2, 0)


def test_an_orphan_that_is_a_zombie_before_its_parent_exits() -> None:
    """The exiting parent sends the signal; from then on the init can reap the orphan."""
    events = [*fork(10, 200, 201, 5), *fork(20, 201, 202, 6), sigchld(60, 201), wait4(70, 6)]
    assert [reap.latency for reap in reaps.match(events).reaps] == [10]


def test_a_burst_is_handed_over_in_the_order_of_birth() -> None:
    events = [*fork(1, 200, 201, 5)]
    for place in range(3):
        events += fork(10 + 2 * place, 201, 300 + place, 10 + place)
    events += [sigchld(100 + place, 201) for place in range(3)]
    events += [wait4(110, 10), wait4(120, 11), wait4(130, 12), wait4(140, 0)]
    assert [(reap.order, reap.latency) for reap in reaps.match(events).reaps] == [(0, 10), (1, 19), (2, 28)]


def test_orders_are_of_birth_and_not_of_reaping() -> None:
    events = [*fork(1, 200, 201, 5), *fork(3, 201, 202, 6), *fork(5, 200, 203, 7), *fork(7, 203, 204, 8),
              sigchld(20, 204), sigchld(30, 202), wait4(40, 8), wait4(50, 6)]
    assert [(reap.order, reap.ready) for reap in reaps.match(events).reaps] == [(1, 20), (0, 30)]


def test_a_number_that_is_used_again_means_the_newer_process() -> None:
    events = [*fork(1, 200, 201, 5), sigchld(10, 201), wait4(20, 5), *fork(30, 200, 205, 5), sigchld(40, 205),
              wait4(43, 5)]
    assert [reap.latency for reap in reaps.match(events).reaps] == [10, 3]


def test_a_child_without_a_signal_is_not_measured_but_counted() -> None:
    result = reaps.match([wait4(10, 5), *fork(20, 200, 201, 6), wait4(30, 6)])
    assert (result.reaps, result.unmatched) == ([], 2)


def test_waitid_has_no_pid_and_is_matched_in_order() -> None:
    events = [*fork(1, 200, 201, 5), sigchld(10, 201), Event(14, 100, tracing.WAITS[1], {"ret": 0}),
              Event(15, 100, tracing.WAITS[1], {"ret": 0})]
    result = reaps.match(events)
    assert [reap.latency for reap in result.reaps] == [4]
    assert result.by_order == 1


def test_ratios_are_to_the_best_peer_and_know_the_noise() -> None:
    ratios = report.Ratios([("own", True, 10.0), ("peer", False, 20.0), ("better", False, 8.0),
                            ("own" + AGAIN, True, 12.0)])
    assert ratios.of(10.0) == 1.25
    assert ratios.noise == pytest.approx(1.2)
    assert ratios.show(8.0 * 1.19) == "equal"
    assert ratios.show(8.0 / 1.19) == "equal"
    assert ratios.show(8.0 * 1.3) == "1.30"
    assert ratios.show(None) == report.NOTHING


def test_nothing_at_all_is_a_ratio_too_but_never_the_best_peer() -> None:
    ratios = report.Ratios([("own", True, 0.0), ("peer", False, 20.0), ("other", False, 0.0)])
    assert (ratios.of(0.0), ratios.best, ratios.show(0.0)) == (0.0, 20.0, "0.00")


def test_zombies_at_most() -> None:
    times = [(0, 10), (5, 20), (6, 7), (10, 30), (40, 50)]
    assert reaps.count_most(reaps.Reap(0, ready, gone) for ready, gone in times) == 3
    assert reaps.count_most([]) == 0


def test_without_peers_there_is_no_ratio() -> None:
    assert report.Ratios([("own", True, 10.0)]).show(10.0) == report.NOTHING


@pytest.mark.parametrize("value, text", [(None, "-"), (0, "0"), (999, "999 ns"), (999.6, "1.00 us"), (12345, "12.3 us"),
                                         (1.234e6, "1.23 ms"), (2.5e9, "2.50 s"), (1.5e6, "1.50 ms")])
def test_times(value, text: str) -> None:
    assert report.format_time(value) == text


def test_table_lines_are_equally_wide() -> None:
    lines = report.render_table(["init", "n"], [["a", "1"], ["much longer", "12,345"]]).splitlines()
    assert len({len(line) for line in lines}) == 1
    assert lines[1].endswith(":|")


def test_progress_is_plain_lines_when_piped(tmp_path) -> None:
    now = [0.0]
    with open(tmp_path / "out", "w+") as stream:
        progress = report.Progress(stream, lambda: now[0])
        for second in range(12):
            now[0] = float(second)
            progress.show(f"line {second}")
        progress.clear()
        stream.seek(0)
        assert stream.read() == "line 0\nline 5\nline 10\n"


def test_an_init_of_the_users() -> None:
    init = inits.parse_extra("mine=sh -c 'exit 1' --")
    assert (init.name, init.kind, init.command[1:], init.own) == ("mine", INIT, ["-c", "exit 1", "--"], False)
    assert inits.parse_extra("mine=sh", PAUSE).kind == PAUSE


@pytest.mark.parametrize("text", ["", "=sh", "name=", "name= ", "name", "name=/no/such/program", "name='sh"])
def test_a_bad_init_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^--init {re.escape(repr(text))}: .*expected"):
        inits.parse_extra(text)


@pytest.mark.parametrize("text", ["-1", "", "x", "1_0", " 5", "5 ", "\u0665", "1e1", "nan", "inf", "101", "9" * 400])
def test_a_bad_number_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{re.escape(repr(text))}: expected a number from 0 to 100$"):
        cli.number(0, 100)(text)


def test_every_line_of_the_table_is_an_init() -> None:
    for name, kind, command, _group, _version in inits.TABLE:
        assert kind in (inits.INIT, inits.PAUSE, inits.SUPERVISOR, inits.SLEEPER)
        assert command.format(pyinit="x", pause="y", lean="v", lean_init="u", folder="z"), name
    assert {line[0] for line in inits.TABLE} >= set(inits.OWN)


def test_words_in_front_of_a_command_are_its_environment() -> None:
    init = inits.parse_extra("mine=A=1 B='2 3' sh -c x=1")
    assert inits.split_environment(init.command)[0] == [("A", "1"), ("B", "2 3")]
    assert init.command[2].startswith("/") and init.command[3:] == ["-c", "x=1"]
    assert inits.split_environment(["/a=b", "x"]) == ([], ["/a=b", "x"])
    with pytest.raises(ValueError, match="expected"):
        inits.parse_extra("mine=A=1")


def test_warnings_of_one_kind_are_counted() -> None:
    result = report.Result("x", "y", [])
    for number in range(3):
        result.warn(f"late by {number}", "late")
        result.warn("other")
    assert result.warnings == ["late by 0 (and 2 more)", "other"]


def test_a_global_pid_that_is_used_again_is_another_process() -> None:
    """201 was a parent. When the number is used again by an orphan, its signal is about the orphan itself."""
    events = [*fork(1, 200, 201, 5), *fork(3, 201, 202, 6), sigchld(10, 202), wait4(20, 6),
              *fork(30, 200, 203, 7), *fork(33, 203, 201, 8), sigchld(40, 201), wait4(47, 8)]
    result = reaps.match(events)
    assert [(reap.order, reap.latency) for reap in result.reaps] == [(0, 10), (1, 7)]
    assert result.unmatched == 0


def test_window_without_a_mask_is_from_an_exec_to_the_first_mask_behind_it() -> None:
    events = [Event(10, 7, tracing.MASK, {}), Event(20, 7, tracing.EXEC, {}), Event(25, 8, tracing.MASK, {}),
              Event(30, 7, tracing.MASK, {}), Event(40, 7, tracing.MASK, {})]
    assert start.find_window(events, 7) == 10
    assert start.find_window([*events, Event(50, 7, tracing.EXEC, {}), Event(90, 7, tracing.MASK, {})], 7) == 10
    assert start.find_window([events[1], Event(22, 7, tracing.EXEC, {}), *events[2:]], 7) == 8
    assert start.find_window(events, 8) is None
    assert start.find_window([], 7) is None


def test_a_machine_that_stands_still_does_not_use_up_an_inits_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The init gets its looks although the first one took longer than its time."""
    clock, children = iter(range(0, 1000, 60)), iter([2, 1, 0])
    monkeypatch.setattr(namespaces.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(namespaces, "adopted_children", lambda _: next(children))
    assert namespaces.wait_reaped(None, 0, 10) == 0  # type: ignore[arg-type]
