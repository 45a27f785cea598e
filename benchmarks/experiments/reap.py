"""Measure the reap latency: from the instant at which a zombie can be reaped until it is reaped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Optional

from ..bench import Bench, Storm
from ..charts import chart_latencies
from ..inits import Init
from ..namespaces import StartError
from ..pacing import achieved_rate, late_share
from ..percentiles import REPORTED, summarise
from ..report import NOTHING, Ratios, Result, format_number, format_time, note_noise, show_count

NAME = "reap"

# Each load: its name, the generator's command, and how many times it runs in a turn.
LOADS = (("500/s", "paced 500 2000", 1), ("5,000/s", "paced 5000 10000", 1), ("flat out", "flat 10000", 1),
         ("burst 100", "burst 100", 10), ("burst 1,000", "burst 1000", 3), ("burst 10,000", "burst 10000", 1))
QUICK_LOADS = (("500/s", "paced 500 200", 1), ("5,000/s", "paced 5000 1000", 1), ("flat out", "flat 1000", 1),
               ("burst 100", "burst 100", 2), ("burst 1,000", "burst 1000", 1))
TURNS, QUICK_TURNS = 5, 1

Storms = dict[tuple[str, str], list[Storm]]  # by load and init
Noise = dict[str, list[Optional[float]]]  # the A/A check's ratios, by metric

METHODS = {
    "tracepoints": "from the kernel's tracepoints: signal_generate of SIGCHLD to the init, to the return of wait4 or "
                   "waitid in the init, in one clock; every init is seen from outside and alike",
    "pidfd": "by pidfd, without tracepoints: from the instant SIGKILL is sent to a live orphan to POLLHUP, as a "
             "process beside the init sees it; the orphan's own exit and the observer's wakeup are part of it",
    "polling": "by polling kill(2), without tracepoints and before Linux 6.9: from the instant SIGKILL is sent to a "
               "live orphan to ESRCH; the orphan's own exit and up to one round of polling are part of it",
}


def run(bench: Bench) -> Result:
    """Measure every init under every load."""
    loads = QUICK_LOADS if bench.quick else LOADS
    inits = bench.reapers()
    result = Result(NAME, "latency from the instant a zombie can be reaped to the instant it is gone",
                    ["load", "init", "n", "p50", "p90", "p99", "p99.9", "max", "p50 / best peer", "p99 / best peer",
                     "p99 from plan", "late", "rate", "zombies at most"])
    storms: Storms = {}
    for init in bench.turns(QUICK_TURNS if bench.quick else TURNS, inits, NAME):
        measure_loads(bench, init, loads, storms, result)
    noise: Noise = {"p50": [], "p99": []}
    for load, _, _ in loads:
        add_rows(result, load, inits, storms, noise)
    result.notes.append(METHODS[bench.how])
    result.notes.append("late: the share of orphans that came later than the next one was due; from plan: from the "
                        "planned instant to gone, in which the generator's own delay is (no coordinated omission); "
                        "rate: orphans a second that were really made")
    result.notes.append("burst: the orphans are zombies already when their parent exits, and become the init's in one "
                        "instant; the last one waits for all before it")
    for metric, ratios in noise.items():
        note_noise(result, metric, ratios)
    return result


def measure_loads(bench: Bench, init: Init, loads: Sequence[tuple[str, str, int]], storms: Storms,
                  result: Result) -> None:
    """Run one turn of one init, all loads one after the other; add the storms to `storms`."""
    try:
        with bench.start(init) as running:
            for load, command, times in loads:
                for _ in range(times):
                    storms.setdefault((load, init.name), []).append(bench.measure(running, command, result, init.name))
    except StartError as error:
        result.warn(f"{init.name}: {error}")


def add_rows(result: Result, load: str, inits: list[Init], storms: Storms, noise: Noise) -> None:
    """Add the rows of one load, with ratios to the best peer, and its chart; add the A/A check's ratios to `noise`."""
    pooled = {init.name: [latency for storm in storms.get((load, init.name), []) for latency in storm.latencies]
              for init in inits}
    summaries = {name: summarise(values) for name, values in pooled.items()}
    ratios = {metric: Ratios([(init.name, init.own, summaries[init.name][metric]) for init in inits])
              for metric in ("p50", "p99")}
    for metric in ratios:
        noise[metric].append(ratios[metric].noise)
    for init in inits:
        mine, summary = storms.get((load, init.name), []), summaries[init.name]
        plan = summarise([value for storm in mine for value in storm.from_plan])
        late = sum(late_share(storm.answer) for storm in mine) / len(mine) if mine else None
        most = max((storm.most for storm in mine if storm.most is not None), default=None)
        rate = [achieved_rate(storm.answer) for storm in mine if not load.startswith("burst")]
        result.rows.append([load, init.name, f"{summary['n']:,}",
                            *(format_time(summary[f"p{percent:g}"]) for percent in REPORTED),
                            format_time(summary["max"]), ratios["p50"].show(summary["p50"]),
                            ratios["p99"].show(summary["p99"]), format_time(plan["p99"]),
                            NOTHING if not plan["n"] or late is None else f"{late:.1%}",
                            format_number(sum(rate) / len(rate)) if rate else NOTHING, show_count(most)])
        result.data.append({"load": load, "by_kernel": any(storm.by_kernel for storm in mine), "most_zombies": most,
                            "init": init.name, "latency_ns": summary, "from_plan_ns": plan,
                            "late_share": late, "rates": rate, "p50_ratio": ratios["p50"].of(summary["p50"]),
                            "p99_ratio": ratios["p99"].of(summary["p99"]),
                            "left": sum(storm.left for storm in mine)})
    result.charts.append(chart_latencies(f"Reap latency, {load}", pooled))
