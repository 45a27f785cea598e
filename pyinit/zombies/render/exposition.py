"""Format the report as metrics, in the text format of Prometheus, for node_exporter's textfile collector; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..analyse.budgets import BUDGETS
from ..collect.containers import Container
from ..analyse.report import Group, Report

Sample = tuple[dict[str, str], float]


def format_metrics(report: Report, seconds: float) -> str:
    """Return all metrics. `seconds` is how long the report took."""
    budgets = [({"budget": budget.name, "scope": budget.scope}, budget) for budget in report.budgets]
    return "".join((
        expose("pyinit_zombies", "Zombies by why they have not been reaped.",
               (({"cause": cause}, count) for cause, count in report.causes.items())),
        expose("pyinit_zombie_group_zombies", "Zombies of one parent, for the parents with the most.",
               ((label(group), group.zombies.number) for group in report.groups)),
        expose("pyinit_zombie_group_oldest_seconds", "Time since the oldest zombie of a parent was started.",
               ((label(group), group.zombies.oldest) for group in report.groups)),
        expose("pyinit_pid_budget_used", "Tasks that count against a limit, zombies and threads included.",
               ((labels, budget.used) for labels, budget in budgets)),
        expose("pyinit_pid_budget_limit", "A limit on the number of tasks.",
               ((labels, budget.limit) for labels, budget in budgets)),
        expose("pyinit_pid_budget_exhausted_seconds", "Time until a limit is reached at the present growth of zombies.",
               ((labels, budget.seconds_left) for labels, budget in budgets if budget.seconds_left is not None)),
        expose("pyinit_pid_budget_unread", "Whether a limit of this kind, or what is used of it, could not be read.",
               (({"budget": name}, name in report.unread) for name in BUDGETS)),
        expose("pyinit_zombie_report_timestamp_seconds", "When the report was made, since the epoch.",
               [({}, report.snapshot.time)]),
        expose("pyinit_zombie_report_duration_seconds", "How long it took to make the report.", [({}, seconds)]),
        expose("pyinit_zombie_report_processes", "Processes that were read.", [({}, len(report.snapshot.processes))]),
        expose("pyinit_zombie_report_unreadable", "Processes that could not be read.",
               [({}, report.snapshot.unreadable)]),
    ))


def expose(name: str, meaning: str, samples: Iterable[Sample]) -> str:
    """Return one metric with its samples, or "" if it has no sample."""
    lines = [f"{name}{format_labels(labels)} {format_number(number)}\n" for labels, number in samples]
    return f"# HELP {name} {meaning}\n# TYPE {name} gauge\n{''.join(lines)}" if lines else ""


def label(group: Group) -> dict[str, str]:
    """Return the labels of a group. The command line is left out: it may hold secrets, and metrics travel."""
    container: Container = group.container
    return {"parent_pid": str(group.parent_pid), "parent": group.parent.process.name if group.parent else "",
            "cause": group.cause, "runtime": container.runtime, "container": container.name, "pod": container.pod}


def format_labels(labels: dict[str, str]) -> str:
    """Return labels as {name="value",...}, or "" without a label."""
    pairs = (f'{name}="{escape(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}" if labels else ""


def escape(value: str) -> str:
    """Escape backslash, quote and newline in a label's value."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def format_number(number: float) -> str:
    """Return the value of a sample as text."""
    return "+Inf" if number == math.inf else repr(round(number, 3))
