"""Measure what a reaped orphan costs the init: CPU, context switches and wait calls."""

from __future__ import annotations

from typing import Optional

from .. import namespaces, procfs
from ..bench import Bench, note_kernel_reaping
from ..inits import Init
from ..namespaces import Running, StartError
from ..percentiles import median
from ..report import NOTHING, Ratios, Result, format_number, format_time, note_noise, show_count

NAME = "cost"

# One orphan at a time shows the cost of a wakeup; a burst shows the cost of the loop.
LOADS = (("500/s", "paced 500 1000"), ("flat out", "flat 5000"), ("burst 1,000", "burst 1000"),
         ("burst 10,000", "burst 10000"))
QUICK_LOADS = (("500/s", "paced 500 100"), ("flat out", "flat 1000"), ("burst 1,000", "burst 1000"))
TURNS, QUICK_TURNS = 7, 2

Key = tuple[str, str]  # load, and name of an init


def run(bench: Bench) -> Result:
    """Measure every init under every load without tracing; then count its wait calls in a traced storm."""
    loads = QUICK_LOADS if bench.quick else LOADS
    inits = bench.reapers()
    result = Result(NAME, "CPU of the init, context switches and wait calls for each orphan that it reaps",
                    ["load", "init", "turns", "CPU", "CPU min", "CPU / best peer", "switches", "wait calls",
                     "zombies at most"])
    seen: dict[Key, list[tuple[float, float]]] = {}
    waits: dict[Key, float] = {}
    most: dict[Key, Optional[int]] = {}
    for init in bench.turns(QUICK_TURNS if bench.quick else TURNS, inits, NAME):
        try:
            with bench.start(init) as running:
                note_kernel_reaping(running, result, init.name)
                for load, command in loads:
                    seen.setdefault((load, init.name), []).append(measure_cost(running, command))
                    if bench.tracer and (load, init.name) not in waits:
                        storm = bench.measure(running, command, result, init.name)
                        reaped = storm.answer["made"] if storm.by_kernel else len(storm.latencies)
                        waits[load, init.name] = storm.waits / max(1, reaped)
                        most[load, init.name] = storm.most
        except StartError as error:
            result.warn(f"{init.name}: {error}")
    noise = []
    for load, _ in loads:
        noise.append(add_rows(result, load, inits, seen, waits, most))
    result.notes.append("CPU is the median of the turns, user and system, from /proc/PID/schedstat, measured while "
                        "nothing is traced; most of it is the kernel's work of freeing the process")
    result.notes.append("wait calls and zombies are counted in a traced storm of their own" if bench.tracer else
                        "wait calls and zombies are not counted: there are no tracepoints here")
    note_noise(result, "CPU", noise)
    return result


def measure_cost(running: Running, command: str) -> tuple[float, float]:
    """Run one storm without tracing; return (nanoseconds of CPU, context switches) for each reaped orphan."""
    children = namespaces.adopted_children(running)
    cpu, switches = procfs.read_cpu(running.pid), procfs.read_switches(running.pid)
    made = running.helper.ask(command)["made"]
    left = namespaces.wait_reaped(running, children)
    procfs.wait_settled(running.pid, 0.01)
    reaped = max(1, made - left)
    return (procfs.read_cpu(running.pid) - cpu) / reaped, (procfs.read_switches(running.pid) - switches) / reaped


def add_rows(result: Result, load: str, inits: list[Init], seen: dict[Key, list[tuple[float, float]]],
             waits: dict[Key, float], most: dict[Key, Optional[int]]) -> Optional[float]:
    """Add the rows of one load; return the ratio of the A/A check."""
    middle = {init.name: median([cpu for cpu, _ in seen.get((load, init.name), [])]) for init in inits}
    ratios = Ratios([(init.name, init.own, middle[init.name]) for init in inits])
    for init in inits:
        mine = seen.get((load, init.name), [])
        switches, calls = median([count for _, count in mine]), waits.get((load, init.name))
        least = min((cpu for cpu, _ in mine), default=None)
        result.rows.append([load, init.name, str(len(mine)), format_time(middle[init.name]), format_time(least),
                            ratios.show(middle[init.name]), NOTHING if switches is None else f"{switches:.3f}",
                            "0" if calls == 0 else format_number(calls), show_count(most.get((load, init.name)))])
        result.data.append({"load": load, "init": init.name, "cpu_ns": middle[init.name], "cpu_ns_all":
                            [cpu for cpu, _ in mine], "ratio": ratios.of(middle[init.name]), "switches": switches,
                            "wait_calls": calls, "most_zombies": most.get((load, init.name))})
    return ratios.noise
