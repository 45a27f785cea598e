"""Format the report for people: a table of the groups, each with its verdict, and of the budgets; pure."""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Mapping, Sequence
from typing import Optional

from ..analyse.budgets import CGROUP, NPROC, PID_MAX, THREADS_MAX
from .words import format_duration, printable
from ..analyse.report import HARMLESS, Group, Report
from ..analyse.verdicts import explain, name_container

# The length to which a command line is cut: enough for its program and first arguments.
COMMAND_LENGTH = 60
CHAIN_COMMAND_LENGTH = 120

Commands = Mapping[int, str]

RED, YELLOW, BOLD, RESET = "\33[31m", "\33[33m", "\33[1m", "\33[0m"

BUDGET_NAMES = {PID_MAX: "kernel.pid_max", THREADS_MAX: "kernel.threads-max", CGROUP: "pids.max",
                NPROC: "RLIMIT_NPROC"}


def format_report(report: Report, commands: Commands, width: Optional[int] = None, tree: bool = False,
                  colour: bool = False) -> str:
    """Return the report as text, its lines cut or wrapped at `width` if given. commands: command lines by PID."""
    lines = [cut(headline(report), width)]
    if report.groups:
        lines.append("")
        rows: list[tuple[str, ...]] = [("ZOMBIES", "GROWTH", "OLDEST", "PARENT", "COMMAND", "CONTAINER")]
        rows += [row_of(group, commands) for group in report.groups]
        for number, line in enumerate(align(rows, right=(0, 1, 2, 3))):
            if number == 0:
                lines.append(paint(cut(line, width), BOLD, colour))
                continue
            group = report.groups[number - 1]
            lines.append(cut(line, width))
            lines += [paint(each, YELLOW if group.cause in HARMLESS else RED, colour)
                      for each in wrap(verdict_of(group), width)]
            if tree:
                lines += [cut(each, width) for each in draw_chain(group, commands)]
    if report.left_out:
        rest = report.total - sum(group.zombies.number for group in report.groups)
        lines += wrap(f"{report.left_out} more groups, with {rest} zombies: --top shows more.", width, indent="")
    lines.append("")
    lines += [cut(line, width) for line in format_budgets(report)]
    lines += ["", *wrap(forecast(report), width, indent="")]
    if report.unread:
        names = ", ".join(BUDGET_NAMES[name] for name in report.unread)
        lines += wrap(f"Not all limits could be read ({names}): PIDs may be used up sooner.", width, indent="")
    if report.snapshot.is_partial:
        count = f"{report.snapshot.unreadable} processes" if report.snapshot.unreadable else "Processes"
        lines += wrap(f"{count} could not be read (hidepid, or no permission): there may be more zombies.", width,
                      indent="")
    return "\n".join(lines) + "\n"


def headline(report: Report) -> str:
    """Return how many zombies there are among how many processes, after the time in a watch."""
    zombies = f"{report.total} zombie{'' if report.total == 1 else 's'}" if report.total else "no zombies"
    when = time.strftime("%H:%M:%S  ", time.localtime(report.snapshot.time)) if report.interval is not None else ""
    processes = len(report.snapshot.processes)
    return f"{when}{zombies} among {processes} process{'' if processes == 1 else 'es'}"


def row_of(group: Group, commands: Commands) -> tuple[str, ...]:
    """Return the cells of a group's row."""
    command = printable(commands.get(group.parent_pid, "?"))
    return (str(group.zombies.number), format_growth(group.growth), format_duration(group.zombies.oldest),
            str(group.parent_pid), shorten(command, COMMAND_LENGTH), printable(name_container(group.container)) or "-")


def verdict_of(group: Group) -> str:
    """Return the verdict on a group, with the names of the zombies and the container that they come from."""
    names = ", ".join(f"{printable(name)} {count}" for name, count in group.names[:3])
    more = " and others" if len(group.names) > 3 else ""
    origin = printable(name_container(group.origin))
    where = f", from {origin}" if origin and group.origin != group.container else ""
    return f"{group.cause}: {printable(explain(group))} ({names}{more}{where})"


def draw_chain(group: Group, commands: Commands) -> list[str]:
    """Draw the parents from PID 1 down to the zombies, as ps(1) draws a forest."""
    chain = [f"{process.pid} {shorten(printable(commands[process.pid]), CHAIN_COMMAND_LENGTH)}"
             for process in reversed(group.chain)]
    pids = " ".join(map(str, group.pids)) + (" ..." if group.zombies.number > len(group.pids) else "")
    chain.append(f"{group.zombies.number} zombie{'' if group.zombies.number == 1 else 's'}: {pids}")
    return [f"      {' ' * 3 * (depth - 1)}{chr(92) + '_ ' if depth else ''}{each}" if depth else f"      {each}"
            for depth, each in enumerate(chain)]


def format_budgets(report: Report) -> list[str]:
    """Return the table of the budgets. A star marks the one that is used up first."""
    tightest = report.tightest
    rows = [("", "PID BUDGET", "USED", "LIMIT", "%", "USED UP IN", "SCOPE")]
    for budget in report.budgets:
        rows.append(("*" if budget is tightest else "", BUDGET_NAMES[budget.name], str(budget.used), str(budget.limit),
                     f"{100 * budget.share:.1f}", format_left(budget.seconds_left),
                     printable(budget.scope) or "the machine"))
    return align(rows, right=(2, 3, 4, 5))


def forecast(report: Report) -> str:
    """Say in a sentence how long PIDs last, and how that is known."""
    tightest = report.tightest
    if tightest is None:
        return "No budget could be read."
    name = BUDGET_NAMES[tightest.name] + (f" of {printable(tightest.scope)}" if tightest.scope else "")
    if tightest.seconds_left == 0:
        return f"{name} is used up: no process can be started there."
    if tightest.seconds_left is None:
        return "One zombie says nothing of growth" + (": --watch measures it." if report.interval is None else ".")
    source = "by when they were started; --watch measures it"
    if report.interval is not None:
        source = (f"measured over {report.interval:.1f}s" if tightest.is_measured
                  else "by when they were started; one more than before is too few to measure")
    if tightest.seconds_left == math.inf:
        return f"Zombies do not grow ({source})." if report.total or report.interval is not None else "Nothing to reap."
    return (f"At {tightest.growth:+.1f} zombies a minute ({source}) {name} is used up in "
            f"{format_duration(tightest.seconds_left)}.")


def format_growth(growth: Optional[float]) -> str:
    """Return the growth in zombies a minute, or "?" if it is unknown."""
    if growth is None:
        return "?"
    return f"{growth:+.0f}/min" if abs(growth) >= 10 else f"{growth:+.1f}/min" if growth else "0/min"


def format_left(seconds: Optional[float]) -> str:
    """Return the time until a budget is used up, "never", or "?" if it is unknown."""
    return "?" if seconds is None else "never" if seconds == math.inf else format_duration(seconds)


def align(rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Return `rows` as lines with aligned columns. The columns with an index in `right` are flush right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.rjust(size) if column in right else cell.ljust(size)
                      for column, (cell, size) in enumerate(zip(row, widths))).rstrip() for row in rows]


def shorten(text: str, width: int) -> str:
    """Cut a text to `width` characters. A text that was cut ends in "..."."""
    return text if len(text) <= width else text[:width - 3] + "..."


def cut(line: str, width: Optional[int]) -> str:
    """Cut a line of the table to the width of the terminal. Without a terminal, return the whole line."""
    return line if width is None else shorten(line, max(width, 20))


def wrap(text: str, width: Optional[int], indent: str = "    ") -> list[str]:
    """Wrap a sentence at the width of the terminal. Without a terminal, return it as one line."""
    if width is None:
        return [indent + text]
    return textwrap.wrap(text, max(width, 20), initial_indent=indent, subsequent_indent=indent,
                         break_on_hyphens=False)


def paint(line: str, sequence: str, colour: bool) -> str:
    """Return a line in a colour, or as it is if `colour` is false."""
    return f"{sequence}{line}{RESET}" if colour else line
