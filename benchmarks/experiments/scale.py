"""Measure latency and cost with many live adopted children, because waitpid(-1) walks the list of children."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..bench import Bench
from ..charts import chart_latencies
from ..inits import Init
from ..namespaces import StartError
from ..percentiles import median, summarise
from ..report import Ratios, Result, format_time, note_noise
from .cost import measure_cost

NAME = "scale"

LIVE, QUICK_LIVE = (0, 100, 1000, 10000), (0, 100, 1000)
STORM, QUICK_STORM = "paced 500 500", "paced 500 100"
TURNS, QUICK_TURNS = 3, 1

Key = tuple[int, str]  # number of live children, and name of an init


def run(bench: Bench) -> Result:
    """Measure every init with every number of live children."""
    inits = bench.reapers()
    result = Result(NAME, "the same at 500/s while adopted children live on",
                    ["live", "init", "n", "p50", "p99", "p50 / best peer", "CPU", "CPU / best peer", "CPU / at 0"])
    latencies: dict[Key, list[int]] = {}
    costs: dict[Key, list[float]] = {}
    by_kernel: set[str] = set()  # the inits whose children the kernel reaps
    lives = QUICK_LIVE if bench.quick else LIVE
    for init in bench.turns(QUICK_TURNS if bench.quick else TURNS, inits, NAME):
        try:
            measure_init(bench, init, lives, latencies, costs, by_kernel, result)
        except StartError as error:
            result.warn(f"{init.name}: {error}")
    noise = [add_rows(result, live, inits, latencies, costs, by_kernel) for live in lives]
    result.notes.append("the kernel's wait4(2) and waitid(2) for any child walk the list of children until they find a "
                        "zombie: what grows here is the kernel's, and grows for every init")
    result.charts = [chart_latencies(f"Reap latency beside {live:,} live children", {
        init.name: latencies.get((live, init.name), []) for init in inits}) for live in lives]
    note_noise(result, "p50", [p50 for p50, _ in noise])
    note_noise(result, "CPU", [cpu for _, cpu in noise])
    return result


def measure_init(bench: Bench, init: Init, lives: Sequence[int], latencies: dict[Key, list[int]],
                 costs: dict[Key, list[float]], by_kernel: set[str], result: Result) -> None:
    """Measure one init with a growing number of live children; add the results to the mappings. Raises StartError."""
    storm = QUICK_STORM if bench.quick else STORM
    with bench.start(init) as running:
        alive = 0
        for live in lives:
            if live > alive:
                answer = running.helper.ask(f"live {live - alive}", 120)
                alive += answer["made"]
                if answer["refused"]:
                    result.warn(f"{init.name}: only {alive} of {live} live children could be made")
            costs.setdefault((live, init.name), []).append(measure_cost(running, storm)[0])
            measured = bench.measure(running, storm, result, f"{init.name}, {live} live")
            latencies.setdefault((live, init.name), []).extend(measured.latencies)
            if measured.by_kernel:
                by_kernel.add(init.name)


def add_rows(result: Result, live: int, inits: list[Init], latencies: dict[Key, list[int]],
             costs: dict[Key, list[float]], by_kernel: set[str]) -> tuple[Optional[float], Optional[float]]:
    """Add the rows of one number of live children; return the ratios of the A/A check, of p50 and of CPU."""
    summaries = {init.name: summarise(latencies.get((live, init.name), [])) for init in inits}
    cpu = {init.name: median(costs.get((live, init.name), [])) for init in inits}
    p50 = Ratios([(init.name, init.own, summaries[init.name]["p50"]) for init in inits])
    ratios = Ratios([(init.name, init.own, cpu[init.name]) for init in inits])
    for init in inits:
        summary, mine, empty = summaries[init.name], cpu[init.name], median(costs.get((0, init.name), []))
        growth = f"{mine / empty:.1f}" if mine and empty else "-"
        result.rows.append([f"{live:,}", init.name, f"{summary['n']:,}", format_time(summary["p50"]),
                            format_time(summary["p99"]), p50.show(summary["p50"]), format_time(mine),
                            ratios.show(mine), growth])
        result.data.append({"live": live, "init": init.name, "by_kernel": init.name in by_kernel, "latency_ns": summary,
                            "cpu_ns": mine, "p50_ratio": p50.of(summary["p50"]),
                            "cpu_ratio": ratios.of(mine)})
    return p50.noise, ratios.noise
