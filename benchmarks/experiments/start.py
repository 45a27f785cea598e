"""Measure how long an init takes to start and to stop, and how long PID 1 loses signals at the start."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Optional

from .. import namespaces, procfs
from ..bench import Bench
from ..inits import INIT, PAUSE, Init, find_program
from ..namespaces import NAMESPACE, PLAIN, SLEEPING_MAIN, StartError
from ..percentiles import median
from ..report import NOTHING, Ratios, Result, format_time, note_noise
from ..ringbuffer import Event
from ..tracing import EXEC, MASK

NAME = "start"
TURNS, QUICK_TURNS = 40, 10
STOP_TURNS, QUICK_STOP_TURNS = 15, 4

TRUE, BARE = "true, alone", "python3 -IS -c pass"
POLLING = 0.00005  # seconds between two looks at /proc; more looks would take CPU time from the measured start
SELDOM = 0.02  # the same with tracepoints, which record the instant; more looks made a start take half as long again
PATIENCE = 1.0  # seconds to wait until an init has masked signals, or has stopped

# At another level, a tini that is not PID 1 checks whether it is a subreaper, only to warn that it is not.
PLAIN_ENVIRONMENT = {**os.environ, "TINI_VERBOSITY": "0"}

Times = dict[str, list[Optional[float]]]  # nanoseconds by name of an init; None for an event that never came


def run(bench: Bench) -> Result:
    """Measure starts, as PID 1 and as a plain process, then the window without a mask and the stop."""
    result = Result(NAME, "INIT true over true; from exec to the signal mask; from SIGTERM to exit",
                    ["init", "PID 1: true", "over true", "/ bare python", "plain: true", "over true", "/ bare python",
                     "to mask", "SIGTERM to exit", "over / best peer"])
    inits = bench.with_check(bench.inits)
    starts = measure_starts(bench, bench.with_check(bench.of_kind(INIT, PAUSE)), result)
    windows: Times = {}
    stops: Times = {}
    for init in bench.turns(QUICK_STOP_TURNS if bench.quick else STOP_TURNS, inits, f"{NAME}: mask and stop"):
        windows.setdefault(init.name, []).append(measure_window(bench, init))
        try:
            stops.setdefault(init.name, []).append(measure_stop(bench, init))
        except StartError as error:
            result.warn(f"{init.name}: {error}")
    add_rows(result, bench, inits, starts, windows, stops)
    return result


def measure_starts(bench: Bench, inits: list[Init], result: Result) -> dict[tuple[str, str], list[int]]:
    """Start all programs in turns; return the nanoseconds from posix_spawn(3) to the exit seen, by (mode, name)."""
    true = find_program("true") or "/bin/true"
    commands = [(TRUE, [true]), (BARE, [bench.python, "-IS", "-c", "pass"])]
    commands += [(init.name, [*init.command, true] if init.kind == INIT else init.command) for init in inits]
    pauses = {init.name for init in inits if init.kind == PAUSE}
    modes: dict[str, Mapping[str, str]] = {NAMESPACE: os.environ, PLAIN: PLAIN_ENVIRONMENT}
    if bench.mode != NAMESPACE:
        del modes[NAMESPACE]
    times: dict[tuple[str, str], list[int]] = {}
    count = QUICK_TURNS if bench.quick else TURNS
    for turn in range(count + 1):  # the first turn only warms the page cache
        for mode, environment in modes.items():
            for name, argv in commands:
                bench.progress.show(f"{NAME}: turn {turn} of {count}: {name}")
                try:
                    elapsed = time_run(argv, mode, environment, name in pauses)
                except StartError as error:
                    result.warn(str(error))
                    continue
                if turn:
                    times.setdefault((mode, name), []).append(elapsed)
    return times


def time_run(argv: list[str], mode: str, environment: Mapping[str, str], is_pause: bool) -> int:
    """Run a program; return the nanoseconds from posix_spawn(3) until its end is seen.

    A pause does not end by itself, so it is started with a pending SIGTERM. Raises StartError if that does not end it.
    """
    before = time.monotonic_ns()
    pid = namespaces.spawn(argv, mode, environment, (signal.SIGTERM,) if is_pause else ())
    try:
        if is_pause:
            os.kill(pid, signal.SIGTERM)
            namespaces.wait_exit(pid, PATIENCE)
            elapsed = time.monotonic_ns() - before
            if procfs.read_state(pid) != "Z":
                raise StartError(f"{argv[0]}: a SIGTERM that was pending at its start did not end it")
            return elapsed
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return time.monotonic_ns() - before
    finally:
        namespaces.end(pid, mode)


def measure_window(bench: Bench, init: Init) -> Optional[float]:
    """Start an init; return the nanoseconds from its exec until it blocks or catches SIGTERM, or None if it never does.

    Polling /proc finds out whether it does. If there are tracepoints, they give the instant.
    """
    main = SLEEPING_MAIN if init.kind == INIT else []
    warm_up([*init.command, *main], bench.mode)
    if bench.tracer:
        bench.tracer.start_masks()
    pid = namespaces.spawn([*init.command, *main], bench.mode)
    began = time.monotonic_ns()
    polled = None
    try:
        while polled is None and time.monotonic_ns() - began < PATIENCE * 1e9:
            if procfs.blocks_or_catches(pid, signal.SIGTERM):
                polled = time.monotonic_ns() - began
            else:
                time.sleep(SELDOM if bench.tracer else POLLING)
    finally:
        namespaces.end(pid, bench.mode)
        events = bench.tracer.stop() if bench.tracer else []
    return polled if polled is None else find_window(events, pid) or polled


def warm_up(command: Sequence[str], mode: str) -> None:
    """Start a program once, so that the caches of the processor are those of one start in a row of several."""
    pid = namespaces.spawn(command, mode)
    time.sleep(SELDOM)
    namespaces.end(pid, mode)


def find_window(events: Sequence[Event], pid: int) -> Optional[int]:
    """Return the nanoseconds from an exec of a process to its first change of the mask after that, or None.

    Of several execs it is the last one before the change: pyinit's launcher executes the interpreter with the mask set.
    """
    executed = None
    for event in events:
        if event.pid == pid and event.name == EXEC:
            executed = event.time
        elif event.pid == pid and event.name == MASK and executed is not None:
            return event.time - executed
    return None


def measure_stop(bench: Bench, init: Init) -> Optional[float]:
    """Start an init; return the nanoseconds from SIGTERM to its end, or None if it does not end. Raises StartError."""
    main = SLEEPING_MAIN if init.kind == INIT else []
    with namespaces.start([*init.command, *main], mode=bench.mode) as running:
        procfs.wait_settled(running.pid)
        before = time.monotonic_ns()
        os.kill(running.pid, signal.SIGTERM)
        return None if running.wait(PATIENCE) is None else time.monotonic_ns() - before


def add_rows(result: Result, bench: Bench, inits: list[Init], starts: dict[tuple[str, str], list[int]],
             windows: Times, stops: Times) -> None:
    """Add a row for each init, and for true and bare Python alone."""
    middle = {key: value for key, values in starts.items() if (value := median(values)) is not None}
    namespace_cost = max(0.0, (middle.get((NAMESPACE, TRUE)) or 0) - middle[PLAIN, TRUE])

    pauses = {init.name for init in inits if init.kind == PAUSE}  # a pause does not run true

    def over(mode: str, name: str) -> Optional[float]:
        value = middle.get((mode, name))
        return None if value is None or name in pauses else value - middle[mode, TRUE]

    def times_bare(mode: str, name: str) -> Optional[float]:
        bare = middle.get((mode, BARE))
        extra = over(mode, name)
        return extra / (bare - (namespace_cost if mode == NAMESPACE else 0)) if extra and bare else None

    ratios = Ratios([(init.name, init.own, over(NAMESPACE, init.name) or over(PLAIN, init.name))
                     for init in inits])
    for name in (TRUE, BARE, *(init.name for init in inits)):
        cells = [name]
        for mode in (NAMESPACE, PLAIN):
            ratio = times_bare(mode, name)
            cells += [format_time(middle.get((mode, name))), format_time(over(mode, name)) if name != TRUE else NOTHING,
                      f"{ratio:.2f}" if ratio and name not in (TRUE, BARE) else NOTHING]
        cells += [show_last(windows.get(name)), show_last(stops.get(name)),
                  ratios.show(over(NAMESPACE, name) or over(PLAIN, name)) if name not in (TRUE, BARE) else NOTHING]
        result.rows.append(cells)
        result.data.append({"init": name, "pid1_ns": middle.get((NAMESPACE, name)), "plain_ns":
                            middle.get((PLAIN, name)), "pid1_over_true_ns": over(NAMESPACE, name),
                            "plain_over_true_ns": over(PLAIN, name), "pid1_times_bare": times_bare(NAMESPACE, name),
                            "plain_times_bare": times_bare(PLAIN, name), "to_mask_ns": windows.get(name),
                            "stop_ns": stops.get(name)})
    result.notes += describe(bench, namespace_cost)
    note_noise(result, "time over true", [ratios.noise])


def describe(bench: Bench, namespace_cost: float) -> list[str]:
    """Return notes on how the columns are measured. namespace_cost: nanoseconds."""
    return [
        f"medians; each is started by posix_spawn(3) from the harness, which copies no memory; that, and the new PID "
        f"namespace ({format_time(namespace_cost)}), is in true alone as well, so that 'over true' has neither; / bare "
        "python is that over the whole of python3 -IS -c pass, less the namespace",
        "a pause runs no true: it is started with a SIGTERM blocked and pending, and timed until that has ended it",
        "plain: not PID 1, with TINI_VERBOSITY=0, so that tini does not look whether it is a subreaper in order to "
        "warn; pyinit, its lean init and catatonit become subreapers, tini and dumb-init do not",
        "to mask: from the exec until SIGTERM is blocked or caught, before which PID 1 loses it (pid_namespaces(7)); "
        + ("seen by the kernel's tracepoints, as the first change of the mask" if bench.tracer else
           "seen by polling /proc every 150 us or so, so that the smallest are upper bounds"),
        "SIGTERM to exit: the main child is sleep, which SIGTERM ends; never: it was still there after a second"]


def show_last(values: Optional[list[Optional[float]]]) -> str:
    """Return the median as text, or how often the event never came."""
    if not values:
        return NOTHING
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "never" if not known else f"never ({len(values) - len(known)} of {len(values)})"
    return format_time(median(known))


