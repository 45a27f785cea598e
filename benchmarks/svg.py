"""Latency curves as SVG: latency over percentile, both axes logarithmic, one line for each init, light and dark."""

from __future__ import annotations

import math
from html import escape
from typing import Mapping, Sequence

from .percentiles import curve
from .report import format_time

WIDTH, HEIGHT = 860, 460
LEFT, RIGHT, TOP, BOTTOM = 80, 200, 50, 60

# Colours that are told apart by the colour-blind (Okabe and Ito), lightened where a dark page needs it, and dashes.
LINES = (("#0072b2", "#56b4e9", ""), ("#d55e00", "#ff8c42", ""), ("#009e73", "#2fd0a5", ""),
         ("#a0468c", "#e08bc6", ""), ("#8a6d00", "#f0e442", ""), ("#555555", "#bbbbbb", ""),
         ("#0072b2", "#56b4e9", "6 3"), ("#d55e00", "#ff8c42", "6 3"), ("#009e73", "#2fd0a5", "6 3"),
         ("#a0468c", "#e08bc6", "6 3"), ("#8a6d00", "#f0e442", "6 3"), ("#555555", "#bbbbbb", "6 3"))


def draw(title: str, lines: Mapping[str, Sequence[float]]) -> str:
    """The picture of the values, in nanoseconds, of each line; lines of fewer than two values are left out."""
    curves = {name: curve(values) for name, values in lines.items() if len(values) > 1}
    points = [point for line in curves.values() for point in line]
    low = math.floor(math.log10(max(1.0, min((value for _, value in points), default=1000))))
    high = max(low + 1, math.ceil(math.log10(max((value for _, value in points), default=1e6))))
    last = max(1.0, math.ceil(-math.log10(min((above for above, _ in points), default=0.01))))

    def place(above: float, value: float) -> tuple[float, float]:
        share = (-math.log10(above) - math.log10(2)) / (last - math.log10(2))
        height = (math.log10(max(value, 1.0)) - low) / (high - low)
        return (LEFT + max(0.0, share) * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - height * (HEIGHT - TOP - BOTTOM))

    parts = [head(title), *draw_percentiles(int(last), place), *draw_latencies(low, high, place)]
    for number, (name, line) in enumerate(curves.items()):
        parts += draw_line(number, name, [place(*point) for point in line])
    return "\n".join([*parts, "</svg>", ""])


def head(title: str) -> str:
    """The opening tag, the colours for a light and a dark page, and the title."""
    light = "".join(f".l{number}{{stroke:{colour[0]}}}.t{number}{{fill:{colour[0]}}}"
                    for number, colour in enumerate(LINES))
    dark = "".join(f".l{number}{{stroke:{colour[1]}}}.t{number}{{fill:{colour[1]}}}"
                   for number, colour in enumerate(LINES))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(title)}">\n<style>svg{{background:#fff;font:13px system-ui,sans-serif}}'
            f'text{{fill:#222}}.grid{{stroke:#ddd}}path{{fill:none;stroke-width:2}}{light}'
            f'@media(prefers-color-scheme:dark){{svg{{background:#0d1117}}text{{fill:#ddd}}.grid{{stroke:#333}}{dark}}}'
            f'</style>\n<text x="{LEFT}" y="28" font-size="16">{escape(title)}</text>')


def draw_percentiles(last: int, place) -> list[str]:
    """The grid and the names of p50, p90, p99, ... below it."""
    parts = []
    for above, name in [(0.5, "p50")] + [(10.0 ** -power, name_percentile(power)) for power in range(1, last + 1)]:
        x = place(above, 1)[0]
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
                     f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{name}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    return parts + [f'<text x="{middle:.0f}" y="{HEIGHT - 14}" text-anchor="middle">percentile</text>']


def name_percentile(power: int) -> str:
    """The percentile above which a share of 10 ** -power lies: p90, p99, p99.9."""
    return f"p{100 - 100 * 10.0 ** -power:.{max(0, power - 2)}f}"


def draw_latencies(low: int, high: int, place) -> list[str]:
    """The grid and the names of the powers of ten beside it."""
    parts = []
    for power in range(low, high + 1):
        y = place(0.5, 10.0 ** power)[1]
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
                     f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name_power(power)}</text>')
    return parts


def name_power(power: int) -> str:
    """10 ** power nanoseconds: 1 us, 10 us, 100 us, 1 ms."""
    return format_time(10.0 ** power).replace(".00", "").replace(".0", "").replace("us", "\u00b5s")


def draw_line(number: int, name: str, points: Sequence[tuple[float, float]]) -> list[str]:
    """One init's line and its name in the legend."""
    style = number % len(LINES)
    dash = f' stroke-dasharray="{LINES[style][2]}"' if LINES[style][2] else ""
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    y = TOP + 10 + 20 * number
    x = WIDTH - RIGHT + 16
    return [f'<path class="l{style}" d="{path}"{dash}/>',
            f'<path class="l{style}" d="M{x} {y}h22"{dash}/><text class="t{style}" x="{x + 28}" y="{y + 4}">'
            f'{escape(name)}</text>']
