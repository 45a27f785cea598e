"""The text of a report: tables, numbers with units, ratios, notes and warnings; and the progress on stderr."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from collections.abc import Callable, Sequence
from typing import Any, Optional, TextIO

from .charts import Chart
from .inits import AGAIN

NOTHING = "-"
EQUAL = "equal"
AND_MORE = " (and "


@dataclass
class Result:
    """The outcome of one experiment. rows are the cells of the table; data and charts are saved as JSON."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    repeats: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)

    def warn(self, text: str, key: str = "") -> None:
        """Add a warning about the data; of several with the same key keep the first, and count the others in it."""
        key = key or text
        self.repeats[key] = self.repeats.get(key, 0) + 1
        if self.repeats[key] == 1:
            self.first[key] = len(self.warnings)
            self.warnings.append(text)
        elif key != text:
            place = self.first[key]
            first = self.warnings[place].partition(AND_MORE)[0]
            self.warnings[place] = f"{first}{AND_MORE}{self.repeats[key] - 1} more)"

    def note(self, text: str) -> None:
        """Add a note on how to read the data, unless the result has it already."""
        if text not in self.notes:
            self.notes.append(text)


def format_time(nanoseconds: Optional[float]) -> str:
    """Format nanoseconds with three digits and a unit: 12.3 us, 1.23 ms; None as NOTHING."""
    if nanoseconds is None:
        return NOTHING
    if nanoseconds <= 0:
        return "0"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(nanoseconds) >= size * 0.9995:
            return f"{format_number(nanoseconds / size)} {unit}"
    return f"{format_number(nanoseconds)} ns"


def format_number(value: Optional[float]) -> str:
    """Format a number with three digits; None as NOTHING."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def show_count(count: Optional[int]) -> str:
    """Format a whole number; None as NOTHING."""
    return NOTHING if count is None else f"{count:,}"


def format_bytes(count: Optional[float]) -> str:
    """Format bytes as kB of 1024 bytes, as the kernel counts, from 10,240 kB on as MB; None as NOTHING."""
    if count is None:
        return NOTHING
    return f"{count / 1024:,.0f} kB" if count < 10240 * 1024 else f"{count / 1024 / 1024:,.1f} MB"


def format_duration(seconds: float) -> str:
    """Format seconds in a readable unit: 12.0 s, 3.4 min, 2.8 h, 1.2 days."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


class Ratios:
    """One figure of every init, compared with the best peer's figure and with the noise of the A/A check.

    values: (name, own, value) of each init. Inits of this project (`own`) are not peers. An init and its repetition are
    the A/A check.
    """

    def __init__(self, values: Sequence[tuple[str, bool, Optional[float]]]) -> None:
        known = {name: value for name, _, value in values if value}
        self.best = min((value for _, own, value in values if value and not own), default=None)
        self.noise = max((max(known[name] / known[name[:-len(AGAIN)]], known[name[:-len(AGAIN)]] / known[name])
                          for name in known if name.endswith(AGAIN) and name[:-len(AGAIN)] in known), default=None)

    def of(self, value: Optional[float]) -> Optional[float]:
        """Return a value divided by the best peer's; None without one of them."""
        return value / self.best if value is not None and self.best else None

    def inside_noise(self, ratio: Optional[float]) -> bool:
        """Return whether a ratio is not larger than that of the same init measured twice."""
        return bool(ratio and self.noise and max(ratio, 1 / ratio) <= self.noise)

    def show(self, value: Optional[float]) -> str:
        """Return the ratio as text; "equal" if it is inside the noise."""
        ratio = self.of(value)
        return NOTHING if ratio is None else EQUAL if self.inside_noise(ratio) else f"{ratio:.2f}"


def note_noise(result: Result, what: str, noise: Sequence[Optional[float]]) -> None:
    """Add a note on the noise of the A/A check, and a warning if it is above 1.25."""
    known = [ratio for ratio in noise if ratio]
    if known:
        result.notes.append(f"A/A check: the same init twice differs in {what} by a factor of {max(known):.2f} at most "
                            f"(median {sorted(known)[len(known) // 2]:.2f}); a ratio inside that of its "
                            "own row group is called equal.")
        if max(known) > 1.25:
            result.warn(f"noisy: the same init twice differs by a factor of {max(known):.2f} in {what}; "
                        "repeat on a quieter machine before you trust small ratios")


def render_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, aligned so that it is readable as text; columns other than texts are right-aligned."""
    widths = [max(len(row[place]) for row in [columns, *rows]) for place in range(len(columns))]
    texts = ("init", "load", "how", "reaped by", "result")
    left = [place == 0 or columns[place] in texts for place in range(len(columns))]

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.ljust(width) if flag else cell.rjust(width)
                                 for cell, width, flag in zip(cells, widths, left)) + " |"

    rule = "|" + "|".join("-" * (width + 2) if flag else "-" * (width + 1) + ":"
                          for width, flag in zip(widths, left)) + "|"
    return "\n".join([line(columns), rule, *map(line, rows)])


def render(result: Result) -> str:
    """Return an experiment as text: title, table, notes, warnings."""
    parts = [f"## {result.name}: {result.title}", "", render_table(result.columns, result.rows), ""]
    parts += [f"- {note}" for note in result.notes]
    parts += [f"- WARNING: {warning}" for warning in result.warnings]
    return "\n".join(parts) + "\n"


class Progress:
    """Shows progress on stderr: on a terminal, lines that are rewritten; else plain lines, at most every 5 seconds."""

    def __init__(self, stream: Optional[TextIO] = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.clock = clock
        self.last = -10.0
        self.lines = 0

    def show(self, *lines: str, force: bool = False) -> None:
        """Show the lines; on a terminal they replace the previous ones. force: write them in any case."""
        if self.terminal:
            up = f"\x1b[{self.lines}A" if self.lines else ""
            self.stream.write(up + "".join(f"\r\x1b[K{line}\n" for line in lines))
            self.lines = len(lines)
        elif force or self.clock() - self.last >= 5:
            self.last = self.clock()
            self.stream.write("".join(f"{line}\n" for line in lines))
        self.stream.flush()

    def clear(self) -> None:
        """Remove the lines from the terminal."""
        if self.terminal and self.lines:
            self.stream.write(f"\x1b[{self.lines}A\x1b[J")
            self.stream.flush()
        self.lines = 0

    def keep(self) -> None:
        """Keep the current lines on the terminal: later ones are written below them."""
        self.lines = 0
