"""Make the tables of the documents from saved figures, so that no number is copied by hand.

--json writes a saved run. Each experiment in it names the run that it is from: its command, machine and versions.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .charts import Chart
from .experiments.rabbitmq import BUDGETS, show_until
from .inits import AGAIN, OWN
from .percentiles import median
from .report import NOTHING, Ratios, format_bytes, format_number, format_time, render_table, show_count

Row = Mapping[str, Any]  # the saved data of one init in one experiment
Saved = Mapping[str, Any]  # a saved experiment

NO_ZOMBIE = "no zombie"
MARK = re.compile(r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)

# The inits of a table by name, each with the head of its column.
INITS = {"pyinit": "pyinit", "pyinit --reap kernel": "`--reap kernel`", "pyinit lean init": "lean init",
         "tini": "tini", "dumb-init": "dumb-init", "catatonit": "catatonit"}
PAUSES = {"pyinit pause": "pause", "pyinit pause (kernel)": "pause, `PYINIT_REAP=kernel`", "pyinit lean": "lean pause",
          "catatonit -P": "`catatonit -P`"}
LEAN = {"pyinit lean init": "lean init", "catatonit": "catatonit", "dumb-init": "dumb-init", "tini": "tini",
        "pyinit": "Python init"}
SHOWN = (*INITS, "pyinit" + AGAIN)  # the lines in the pictures of inits
RABBIT_PICTURE, STORM_PICTURE, REAP_PICTURE = "rabbitmq.svg", "fork-storm.svg", "reap-latency-5000-s.svg"


@dataclass(frozen=True)
class Figure:
    """One row of a table. value: takes it from a saved row; show: formats it; load: selects the experiment's rows."""

    label: str
    experiment: str
    value: Callable[[Row], Optional[float]]
    show: Callable[[Optional[float]], str] = format_time
    load: str = ""


def at(*path: str) -> Callable[[Row], Optional[float]]:
    """Return a function that takes a value from nested mappings, and returns None if a key is missing."""
    def take(row: Row) -> Optional[float]:
        value: Any = row
        for key in path:
            value = value.get(key) if value else None
        return None if value is None else float(value)
    return take


def take_start(row: Row) -> Optional[float]:
    """Return the nanoseconds over `true` alone, or None if `true` alone happened to take longer."""
    over = row.get("pid1_over_true_ns")
    return float(over) if over and over > 0 else None


def take_window(row: Row) -> Optional[float]:
    """Return the median window without a mask, in nanoseconds, or None if one of the starts never set a mask."""
    windows = row.get("to_mask_ns") or [None]
    return None if None in windows else median(windows)


def show_whole(value: Optional[float]) -> str:
    """Format a number without decimals."""
    return show_count(None if value is None else round(value))


START = Figure("start over `true`, as PID 1", "start", take_start)
START_AND_END = Figure("start and end, as PID 1", "start", at("pid1_ns"))
WINDOW = Figure("window without a mask", "start", take_window)
MEMORY = Figure("private memory", "memory", at("one", "Private_Dirty"), format_bytes)
NODE = Figure("private memory of 110, a node's", "memory", at("sum", "Private_Dirty"), format_bytes)
REAP = Figure("reap latency p50, 5,000/s", "reap", at("latency_ns", "p50"), load="5,000/s")
COST = Figure("CPU per orphan, 500/s", "cost", at("cpu_ns"), load="500/s")
COST_FLAT = Figure("CPU per orphan, flat out", "cost", at("cpu_ns"), load="flat out")
THROTTLE = Figure("zombies at most with 1 % of a CPU", "throttle", at("most_zombies"), show_whole)
IDLE = Figure("wakeups a minute when idle", "idle", at("wakeups_per_minute"), format_number)
SHORT = (START, WINDOW, MEMORY, REAP, COST, COST_FLAT, THROTTLE, IDLE)
LONG = (*SHORT,
        Figure("reap latency p99, 5,000/s", "reap", at("latency_ns", "p99"), load="5,000/s"),
        Figure("reap latency p50, 500/s", "reap", at("latency_ns", "p50"), load="500/s"),
        Figure("reap latency p50, burst of 1,000", "reap", at("latency_ns", "p50"), load="burst 1,000"),
        Figure("signal to the main child, p50", "forward", at("latency_ns", "p50")),
        Figure("signal in a storm, p99", "forward", at("in_storm_ns", "p99")),
        Figure("signal in a storm, worst", "forward", at("in_storm_ns", "max")))
PAUSE_FIGURES = (START_AND_END, WINDOW, MEMORY, NODE, COST, COST_FLAT, THROTTLE, IDLE)


def make_tables(experiments: Sequence[Saved]) -> dict[str, str]:
    """Return the tables of the documents as Markdown, by name; leave out tables whose experiments were not run."""
    saved = {experiment["name"]: experiment for experiment in experiments}
    tables = {"inits": make_table(saved, INITS, LONG), "inits-short": make_table(saved, INITS, SHORT),
              "lean": make_table(saved, LEAN, (START, WINDOW, MEMORY, IDLE, COST, COST_FLAT, REAP)),
              "pauses": make_table(saved, PAUSES, PAUSE_FIGURES), "rabbitmq": make_rabbitmq(saved)}
    return {name: table for name, table in tables.items() if table}


def make_table(saved: Mapping[str, Saved], columns: Mapping[str, str], figures: Sequence[Figure]) -> str:
    """Return a table of some inits: a row for each figure, with its A/A spread and pyinit's ratio to the best peer."""
    known = [figure for figure in figures if saved.get(figure.experiment, {}).get("data")]
    lines = [show_figure(figure, saved[figure.experiment]["data"], columns) for figure in known]
    if not lines:
        return ""
    table = render_table(["", *columns.values(), "A/A spread", "times the best peer"], lines)
    sources = list(dict.fromkeys(figure.experiment for figure in known))
    return f"{table}\n\n{describe_runs([saved[name] for name in sources], columns)}\n"


def show_figure(figure: Figure, rows: Sequence[Row], columns: Mapping[str, str]) -> list[str]:
    """Return the cells of one row of a table."""
    mine = {row["init"]: row for row in rows if row.get("load", "") == figure.load}
    values = {name: figure.value(row) for name, row in mine.items()}
    twice = [name for name in values if name.endswith(AGAIN) or name + AGAIN in values]
    ratios = Ratios([(name, name not in columns or name in OWN, values.get(name)) for name in [*columns, *twice]])
    cells = [NO_ZOMBIE if mine.get(name, {}).get("by_kernel") else "0" if values.get(name) == 0 else
             figure.show(values.get(name)) for name in columns]
    own = [name for name in columns if name in OWN and values.get(name)]
    compared = [f"{plain(columns[name])} {ratios.show(values[name])}" for name in own] if ratios.best else []
    return [figure.label, *cells, f"{ratios.noise:.2f}" if ratios.noise else NOTHING, ", ".join(compared) or NOTHING]


def plain(text: str) -> str:
    """Return the head of a column without its mark-up."""
    return text.replace("`", "")


def make_rabbitmq(saved: Mapping[str, Saved]) -> str:
    """Return the table of RabbitMQ's health check, "" if it was not measured."""
    rows = saved.get("rabbitmq", {}).get("data", [])
    if not rows:
        return ""
    heads = ["PID 1 of the pod", "checks", "failed", "zombies", "each check",
             *(f"{size:,} PIDs last" for size in BUDGETS)]
    lines = [[row["init"], str(row["checks"]), str(row["failed"]), str((row["zombies"] or [0])[-1]),
              format_number(row["zombies_per_check"]) if row["zombies_per_check"] else "0",
              *(show_until(row["until"][str(size)]).replace("never", "for ever") for size in BUDGETS)] for row in rows]
    limit = rows[0]["limit"]
    budget = f"The pod may have {limit} PIDs.\n\n" if limit else ""
    return (f"{render_table(heads, lines)}\n\n{budget}"
            f"{describe_runs([saved['rabbitmq']], {row['init']: row['init'] for row in rows})}\n")


def describe_runs(experiments: Sequence[Saved], columns: Mapping[str, str]) -> str:
    """Describe the run, machine and versions that the figures of some experiments are from."""
    texts: dict[str, list[str]] = {}
    for experiment in experiments:
        texts.setdefault(describe_run(experiment["run"], columns), []).append(experiment["name"])
    if len(texts) == 1:
        return wrap(next(iter(texts)))
    return "\n\n".join(wrap(f"`{'`, `'.join(names)}`: {text}") for text, names in texts.items())


def wrap(text: str) -> str:
    """Break a paragraph into lines of at most 120 characters."""
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def describe_run(run: Row, columns: Mapping[str, str]) -> str:
    """Describe a run in a sentence or two: its command, its machine, and how busy the machine was."""
    machine = run["machine"]
    versions = {name.split()[0]: read_version(run["inits"][name]["version"]) for name in columns
                if name not in OWN and name in run["inits"]}
    peers = "".join(f", {name} {version}" for name, version in versions.items() if version)
    how = "A quick run: ignore small differences. " if run["quick"] else ""
    if run.get("priority"):
        how += f"Priority: {run['priority']}. "
    return (f"Run: `{run['command']}`. {how}Machine: {machine['cpu']}, {machine['kernel']}, "
            f"{machine['python'].partition(',')[0]}{peers}; when it began, other programs used {run['busy']:.0%} "
            "of the processors.")


def read_version(text: str) -> str:
    """Return the number in a program's description of its version, or ""."""
    found = re.search(r"\d+(\.\d+)+", text)
    return found.group() if found else ""


def make_pictures(experiments: Sequence[Saved]) -> dict[str, Chart]:
    """Return the charts that the documents show, by the names of their files."""
    charts = {chart["title"]: Chart(**chart) for experiment in experiments for chart in experiment["charts"]}
    found: dict[str, Chart] = {}
    for title, chart in charts.items():
        if title.startswith("Zombies of RabbitMQ"):
            found[RABBIT_PICTURE] = chart
        elif title.startswith("Zombies in a fork storm"):
            found[STORM_PICTURE] = keep_lines(chart)
        elif title == "Reap latency, 5,000/s":
            found[REAP_PICTURE] = keep_lines(chart)
    return found


def keep_lines(chart: Chart) -> Chart:
    """Keep only the lines of the inits in SHOWN, because more would be unreadable; return the chart."""
    chart.lines = {name: line for name, line in chart.lines.items() if name in SHOWN}
    return chart


def fill(text: str, tables: Mapping[str, str]) -> str:
    """Replace the tables of a document, each between its marks. Raises ValueError for an unknown name."""
    def replace(match: re.Match[str]) -> str:
        name = match.group(2)
        if name not in tables:
            raise ValueError(f"figures: {name}: no such table in this run; expected one of {', '.join(sorted(tables))}")
        return f"{match.group(1)}\n{tables[name]}\n{match.group(3)}"
    return MARK.sub(replace, text)
