"""Format the report as JSON, by the schema in docs/zombie-report.md; pure."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Optional

from ..collect.containers import Container
from ..analyse.report import Group, Report
from ..collect.snapshot import Process
from ..analyse.verdicts import explain

# Increase this when a field changes its meaning or is removed, not for a new field.
SCHEMA = 1


def format_json(report: Report, commands: Mapping[int, str]) -> str:
    """Return the report as one line of JSON. commands: command lines by PID."""
    return json.dumps(as_dictionary(report, commands), separators=(",", ":")) + "\n"


def as_dictionary(report: Report, commands: Mapping[int, str]) -> dict[str, Any]:
    """Return what the JSON holds: times in seconds, growth in zombies a minute, None for an unknown figure. commands:
    command lines by PID.
    """
    tightest = report.tightest
    return {
        "schema": SCHEMA,
        "time": round(report.snapshot.time, 3),
        "processes": len(report.snapshot.processes),
        "unreadable": report.snapshot.unreadable,
        "partial": report.snapshot.is_partial,
        "zombies": report.total,
        "growth_per_minute": rounded(report.growth),
        "interval_seconds": rounded(report.interval),
        "causes": report.causes,
        "groups": [group_as_dictionary(group, commands) for group in report.groups],
        "groups_left_out": report.left_out,
        "budgets": [{
            "budget": budget.name,
            "scope": budget.scope,
            "used": budget.used,
            "limit": budget.limit,
            "growth_per_minute": rounded(budget.growth),
            "seconds_left": finite(budget.seconds_left),
            "tightest": budget is tightest,
        } for budget in report.budgets],
        "budgets_unread": list(report.unread),
    }


def group_as_dictionary(group: Group, commands: Mapping[int, str]) -> dict[str, Any]:
    """Return a group of zombies. If the parent cannot be seen, all its fields but its PID are None."""
    parent = group.parent
    return {
        "zombies": group.zombies.number,
        "cause": group.cause,
        "verdict": explain(group),
        "growth_per_minute": rounded(group.growth),
        "oldest_seconds": rounded(group.zombies.oldest),
        "names": dict(group.names),
        "pids": list(group.pids),
        "origin": container_as_dictionary(group.origin),
        "parent": {
            "pid": group.parent_pid,
            "name": parent.process.name if parent else None,
            "command": commands.get(group.parent_pid),
            "state": parent.process.state if parent else None,
            "sigchld": parent.status.sigchld if parent else None,
            "container": container_as_dictionary(group.container),
        },
        "chain": [{"pid": process.pid, "command": commands[process.pid]} for process in group.chain],
        "responsible": [process_as_dictionary(process) for process in group.responsible],
    }


def container_as_dictionary(container: Container) -> Optional[dict[str, str]]:
    """Return runtime, name and pod, or None on the bare machine."""
    return container._asdict() if container.runtime else None


def process_as_dictionary(process: Process) -> dict[str, Any]:
    """Return a process that a verdict names."""
    return {"pid": process.pid, "name": process.name, "state": process.state}


def rounded(number: Optional[float]) -> Optional[float]:
    """Round a number to the digits that mean something."""
    return None if number is None else round(number, 3)


def finite(seconds: Optional[float]) -> Optional[float]:
    """Round the seconds left; return None if they are unknown or infinite, because JSON has no infinity."""
    return None if seconds is None or seconds == math.inf else round(seconds, 3)
