"""What is shown: tables, numbers with units, ratios, notes and warnings."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Optional, Sequence

from .inits import AGAIN

NOTHING = "-"
AND_MORE = " (and "


@dataclass
class Result:
    """One experiment's outcome. curves: chart name to (line name to values in nanoseconds); data goes to the JSON."""

    name: str
    title: str
    columns: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    data: list[dict[str, Any]] = field(default_factory=list)
    curves: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    repeats: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)

    def warn(self, text: str, key: str = "") -> None:
        """Say what is wrong with the data; of those with the same key only the first, and how many there were."""
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
        """Say once how the data are to be read."""
        if text not in self.notes:
            self.notes.append(text)


def format_time(nanoseconds: Optional[float]) -> str:
    """Three digits and a unit: 12.3 us, 1.23 ms."""
    if nanoseconds is None:
        return NOTHING
    if nanoseconds <= 0:
        return "0"
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if abs(nanoseconds) >= size * 0.9995:
            return f"{format_number(nanoseconds / size)} {unit}"
    return f"{format_number(nanoseconds)} ns"


def format_number(value: Optional[float]) -> str:
    """Three digits."""
    if value is None:
        return NOTHING
    return f"{value:,.0f}" if abs(value) >= 99.95 else f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"


def show_count(count: Optional[int]) -> str:
    """A whole number, which may not be known."""
    return NOTHING if count is None else f"{count:,}"


def format_bytes(count: Optional[float]) -> str:
    """kB of 1024 bytes, as the kernel counts, or MB above ten thousand of them."""
    if count is None:
        return NOTHING
    return f"{count / 1024:,.0f} kB" if count < 10240 * 1024 else f"{count / 1024 / 1024:,.1f} MB"


def format_duration(seconds: float) -> str:
    """Seconds as people say them: 12 s, 3.4 min, 2.8 h, 1.2 days."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"


class Ratios:
    """One figure of every init beside the best peer's, and beside the noise that the A/A check has found.

    values: (name, own, value) of each contestant; `own` ones are not peers. The repeated init is the A/A check.
    """

    def __init__(self, values: Sequence[tuple[str, bool, Optional[float]]]) -> None:
        known = {name: value for name, _, value in values if value}
        self.best = min((value for _, own, value in values if value and not own), default=None)
        self.noise = max((max(known[name] / known[name[:-len(AGAIN)]], known[name[:-len(AGAIN)]] / known[name])
                          for name in known if name.endswith(AGAIN) and name[:-len(AGAIN)] in known), default=None)

    def of(self, value: Optional[float]) -> Optional[float]:
        """How many times the best peer's value it is."""
        return value / self.best if value is not None and self.best else None

    def inside_noise(self, ratio: Optional[float]) -> bool:
        """Whether the same init twice differed by as much."""
        return bool(ratio and self.noise and max(ratio, 1 / ratio) <= self.noise)

    def show(self, value: Optional[float]) -> str:
        """The ratio as text; ~ marks one inside the noise."""
        ratio = self.of(value)
        return NOTHING if ratio is None else f"{ratio:.2f}" + ("~" if self.inside_noise(ratio) else "")


def note_noise(result: Result, what: str, noise: Sequence[Optional[float]]) -> None:
    """Say how far the A/A check was apart."""
    known = [ratio for ratio in noise if ratio]
    if known:
        result.notes.append(f"A/A check: the same init twice differs in {what} by a factor of {max(known):.2f} at most "
                            f"(median {sorted(known)[len(known) // 2]:.2f}); ~ marks a ratio inside its own row "
                            "group's.")
        if max(known) > 1.25:
            result.warn(f"noisy: the same init twice differs by a factor of {max(known):.2f} in {what}; "
                        "repeat on a quieter machine before you trust small ratios")


def render_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, aligned so that it is read as text as well; all but text columns to the right."""
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
    """An experiment as text: title, table, notes, warnings."""
    parts = [f"## {result.name}: {result.title}", "", render_table(result.columns, result.rows), ""]
    parts += [f"- {note}" for note in result.notes]
    parts += [f"- WARNING: {warning}" for warning in result.warnings]
    return "\n".join(parts) + "\n"


class Progress:
    """What is going on, on stderr: one line that is rewritten on a terminal, else a plain line now and then."""

    def __init__(self, stream=None, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream = stream or sys.stderr
        self.terminal = self.stream.isatty()
        self.clock = clock
        self.last = -10.0
        self.lines = 0

    def show(self, *lines: str, force: bool = False) -> None:
        """Show the lines in place of those shown before."""
        if self.terminal:
            up = f"\x1b[{self.lines}A" if self.lines else ""
            self.stream.write(up + "".join(f"\r\x1b[K{line}\n" for line in lines))
            self.lines = len(lines)
        elif force or self.clock() - self.last >= 5:
            self.last = self.clock()
            self.stream.write("".join(f"{line}\n" for line in lines))
        self.stream.flush()

    def clear(self) -> None:
        """Take the lines away."""
        if self.terminal and self.lines:
            self.stream.write(f"\x1b[{self.lines}A\x1b[J")
            self.stream.flush()
        self.lines = 0

    def keep(self) -> None:
        """Leave the lines where they are."""
        self.lines = 0
