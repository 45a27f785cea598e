"""Draw charts as SVG for light and dark pages, with titles on both axes and a label at the end of each line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from .charts import LATENCY, Chart, Point
from .report import format_time

WIDTH, HEIGHT = 860, 460
LEFT, RIGHT, TOP, BOTTOM = 80, 228, 76, 60
ROW = 17  # pixels from one label to the next
LEADER = 18  # pixels between the plot and the labels, for the leaders that connect them

# The styles of lines: the colour on a light page, the colour on a dark page, the dashes. Colour-blind readers can
# distinguish the colours (Okabe and Ito).
LINES = (("#d55e00", "#ff8c42", ""), ("#0072b2", "#56b4e9", ""), ("#00795a", "#2fd0a5", ""),
         ("#a0468c", "#e08bc6", ""), ("#7a5f00", "#f0e442", ""), ("#555555", "#bbbbbb", ""),
         ("#d55e00", "#ff8c42", "6 3"), ("#0072b2", "#56b4e9", "6 3"), ("#00795a", "#2fd0a5", "6 3"),
         ("#a0468c", "#e08bc6", "6 3"), ("#7a5f00", "#f0e442", "6 3"), ("#555555", "#bbbbbb", "6 3"))


class Scale:
    """One axis from `low` to `high`. ticks: each value that has a grid line, and its text."""

    def __init__(self, low: float, high: float, ticks: Sequence[tuple[float, str]], log: bool = False) -> None:
        self.low = low
        self.high = high
        self.ticks = ticks
        self.log = log

    def share(self, value: float) -> float:
        """Return the position of a value between the ends, from 0 to 1."""
        low, high = (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)
        place = math.log10(max(value, self.low)) if self.log else value
        return min(1.0, max(0.0, (place - low) / (high - low)))


def scale_counts(values: Iterable[float]) -> Scale:
    """Return a linear axis from 0, with four to eight ticks at round numbers beside 0."""
    high = max([1.0, *values])
    step = 10.0 ** math.floor(math.log10(high))
    step *= next(part for part in (0.2, 0.5, 1.0, 2.0) if high / (step * part) <= 8)
    count = math.ceil(high / step - 1e-9)
    return Scale(0, step * count, [(step * number, f"{step * number:,.10g}") for number in range(count + 1)])


def scale_times(values: Iterable[float]) -> Scale:
    """Return a logarithmic axis of nanoseconds, with a tick at each power of ten."""
    known = list(values) or [1e3, 1e6]
    low = math.floor(math.log10(max(1.0, min(known))))
    high = max(low + 1, math.ceil(math.log10(max(1.0, *known))))
    ticks = [(10.0 ** power, name_power(power)) for power in range(low, high + 1)]
    return Scale(10.0 ** low, 10.0 ** high, ticks, True)


def scale_percentiles(shares: Iterable[float]) -> Scale:
    """Return a logarithmic axis of percentiles from the median on, on which p90, p99, p99.9 ... are equally far apart.

    A value on it is the inverse of the share of the values that are at least as large.
    """
    last = max(1, math.ceil(-math.log10(min([0.01, *shares])) - 1e-9))
    ticks = [(2.0, "p50"), *((10.0 ** power, name_percentile(power)) for power in range(1, last + 1))]
    return Scale(2.0, 10.0 ** last, ticks, True)


def name_percentile(power: int) -> str:
    """Return the name of the percentile above which a share of 10 ** -power lies: p90, p99, p99.9."""
    return f"p{100 - 100 * 10.0 ** -power:.{max(0, power - 2)}f}"


def name_power(power: int) -> str:
    """Return the text of 10 ** power nanoseconds, in microseconds, ms or s."""
    return format_time(10.0 ** power).replace(".00", "").replace(".0", "").replace("us", "\u00b5s")


def draw(chart: Chart) -> str:
    """Return the picture of a chart, a whole SVG document."""
    latency = chart.kind == LATENCY
    lines = {name: [(1 / x, y) for x, y in line] if latency else line for name, line in chart.lines.items() if line}
    points = [point for line in lines.values() for point in line]
    heights = [y for _, y in points] + ([chart.limit[0]] if chart.limit else [])
    horizontal = scale_percentiles(1 / x for x, _ in points) if latency else scale_counts(x for x, _ in points)
    vertical = (scale_times if latency else scale_counts)(heights)

    def place(x: float, y: float) -> Point:
        return (LEFT + horizontal.share(x) * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - vertical.share(y) * (HEIGHT - TOP - BOTTOM))

    parts = [*draw_head(chart), *draw_horizontal(horizontal, chart.x), *draw_vertical(vertical, chart.y)]
    if chart.limit:
        parts += draw_limit(place(0, chart.limit[0])[1], chart.limit[1])
    groups = list(group_lines(lines, latency))
    paths = [[place(*point) for point in line] for _, line in groups]
    for number, (labels, path) in enumerate(zip(place_labels(groups, paths), paths)):
        parts += draw_line(number, path, labels)
    return "\n".join([*parts, "</svg>", ""])


def draw_head(chart: Chart) -> list[str]:
    """Return the opening tag, the colours for a light and a dark page, and the title."""
    light, dark = ("".join(f".l{number}{{stroke:{colours[which]}}}.t{number}{{fill:{colours[which]}}}"
                           for number, colours in enumerate(LINES)) for which in (0, 1))
    title = escape(chart.title)
    return [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">',
            "<style>svg{font:13px system-ui,sans-serif}.page{fill:#fff}text{fill:#222}.grid{stroke:#ddd}"
            f".limit{{stroke:#222}}path{{fill:none;stroke-width:2}}.lead{{stroke-width:1;opacity:.6}}{light}"
            "@media(prefers-color-scheme:dark){.page{fill:#0d1117}text{fill:#ddd}.grid{stroke:#333}.limit{stroke:#ddd}"
            f"{dark}}}</style>",
            f'<rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
            f'<text x="{LEFT}" y="28" font-size="16">{title}</text>']


def draw_horizontal(scale: Scale, title: str) -> Iterator[str]:
    """Yield the grid of the horizontal axis, its ticks, and its title below."""
    for value, name in scale.ticks:
        x = LEFT + scale.share(value) * (WIDTH - LEFT - RIGHT)
        yield (f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
               f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{name}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle:.0f}" y="{HEIGHT - 14}" text-anchor="middle">{escape(title)}</text>'


def draw_vertical(scale: Scale, title: str) -> Iterator[str]:
    """Yield the grid of the vertical axis, its ticks, and its title above."""
    for value, name in scale.ticks:
        y = HEIGHT - BOTTOM - scale.share(value) * (HEIGHT - TOP - BOTTOM)
        yield (f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
               f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    yield f'<text x="{LEFT - 8}" y="{TOP - 16}" text-anchor="end">{escape(title)}</text>'


def draw_limit(y: float, text: str) -> list[str]:
    """Return a horizontal line at a height, with its text above it."""
    return [f'<line class="limit" stroke-dasharray="2 4" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT + 8}" y="{y - 6:.1f}">{escape(text)}</text>']


def group_lines(lines: dict[str, list[Point]], latency: bool) -> Iterator[tuple[list[str], list[Point]]]:
    """Yield each line with its labels; constant lines of the same height become one line with several labels."""
    flat: dict[float, list[str]] = {}
    for name, line in lines.items():
        if not latency and len({y for _, y in line}) == 1:
            flat.setdefault(line[0][1], []).append(name)
    for name, line in lines.items():
        names = flat.get(line[0][1], []) if not latency and len({y for _, y in line}) == 1 else [name]
        if names[0] == name:
            longest = max((lines[one] for one in names), key=lambda one: one[-1][0])
            yield [label_line(one, line, latency) for one in names], longest


def label_line(name: str, line: Sequence[Point], latency: bool) -> str:
    """Return the label of a line: its name and, if it shows counts, the highest one."""
    if latency:
        return name
    most = max(y for _, y in line)
    return f"{name}: {'' if line[-1][1] == most else 'at most '}{most:,.0f}"


def place_labels(groups: Sequence[tuple[list[str], list[Point]]],
                 paths: Sequence[Sequence[Point]]) -> list[list[tuple[float, str]]]:
    """Return the (height, label) pairs of each group: near the end of its line, but at least ROW from other labels."""
    order = sorted(range(len(groups)), key=lambda number: paths[number][-1][1])
    rows = [(number, name, paths[number][-1][1]) for number in order for name in groups[number][0]]
    heights: list[float] = []
    for _, _, wanted in rows:
        heights.append(max(wanted, heights[-1] + ROW if heights else TOP - ROW))
    bottom = float(HEIGHT - BOTTOM)
    for place in range(len(heights) - 1, -1, -1):  # a label below the plot moves up, and moves those above it
        heights[place] = min(heights[place], bottom)
        bottom = heights[place] - ROW
    placed: list[list[tuple[float, str]]] = [[] for _ in groups]
    for (number, name, _), height in zip(rows, heights):
        placed[number].append((height, name))
    return placed


def draw_line(number: int, path: Sequence[Point], labels: Sequence[tuple[float, str]]) -> Iterator[str]:
    """Yield one line, its labels, and a leader from the end of the line to the first label."""
    style = number % len(LINES)
    dash = f' stroke-dasharray="{LINES[style][2]}"' if LINES[style][2] else ""
    yield f'<path class="l{style}" d="M{"L".join(f"{x:.1f} {y:.1f}" for x, y in path)}"{dash}/>'
    x = WIDTH - RIGHT + LEADER + 4
    yield (f'<path class="l{style} lead" d="M{path[-1][0]:.1f} {path[-1][1]:.1f}L{x - 4} {labels[0][0]:.1f}"/>')
    for height, name in labels:
        yield f'<text class="t{style}" x="{x}" y="{height + 4:.1f}">{escape(name)}</text>'
