"""The benchmarks' pictures are well-formed SVG with the right scales, and no label covers another."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from benchmarks import svg
from benchmarks.charts import COUNT, Chart, Point, chart_latencies, extend, thin

NAMESPACE = "{http://www.w3.org/2000/svg}"
RISING = [(0.0, 0.0), (50.0, 140.0), (100.0, 294.0)]
FLAT = [(0.0, 0.0), (100.0, 0.0)]


def read(chart: Chart) -> tuple[ElementTree.Element, list[str]]:
    """Return a chart's picture, parsed, and its texts."""
    root = ElementTree.fromstring(svg.draw(chart))
    return root, [element.text or "" for element in root.iter(f"{NAMESPACE}text")]


def count(**lines: list[Point]) -> Chart:
    """Return a chart of counts."""
    return Chart("title", COUNT, "checks", "zombies", lines)


def test_latencies_have_a_line_for_each_init_that_was_measured_twice() -> None:
    _, words = read(chart_latencies("A <title> & more", {"one": list(range(1000, 3000)), "two & three": [5e3, 7e6, 9e8],
                                                         "none": [4]}))
    assert "A <title> & more" in words and "one" in words and "two & three" in words and "none" not in words
    assert {"p50", "p90", "p99", "p99.9", "percentile", "latency", "1 \u00b5s", "1 s"} <= set(words)


def test_counts_are_named_with_the_highest_and_have_titles_on_both_axes() -> None:
    _, words = read(count(sleep=RISING, tini=[(0, 0), (50, 30), (100, 0)]))
    assert {"sleep: 294", "tini: at most 30", "checks", "zombies", "0", "50", "300"} <= set(words)


def test_lines_that_stay_at_the_same_height_are_one_with_several_labels() -> None:
    root, words = read(count(sleep=RISING, tini=FLAT, pause=FLAT[:1] + [(120.0, 0.0)]))
    assert {"sleep: 294", "tini: 0", "pause: 0"} <= set(words)
    assert len([path for path in root.iter(f"{NAMESPACE}path") if "lead" not in path.get("class", "")]) == 2


def test_a_limit_is_drawn_across_and_is_on_the_page() -> None:
    chart = count(a=FLAT)
    chart.limit = (300, "no PID left")
    root, words = read(chart)
    assert "no PID left" in words
    limits = [line for line in root.iter(f"{NAMESPACE}line") if line.get("class") == "limit"]
    assert [line.get("y1") for line in limits] == [f"{svg.TOP}.0"]


@pytest.mark.parametrize("chart", [
    chart_latencies("t", {"a": [1, 10, 100, 1e9], "b": [0, 0, 0]}), count(a=RISING, b=FLAT), count(a=[(0.0, 0.3)]),
    chart_latencies("t", {}), count(), count(**{f"init {number}": RISING for number in range(14)})],
    ids=["latencies", "counts", "small", "no latencies", "no counts", "many"])
def test_everything_stays_inside_the_frame_and_no_label_covers_another(chart: Chart) -> None:
    root, _ = read(chart)
    for path in root.iter(f"{NAMESPACE}path"):
        if "lead" not in path.get("class", ""):
            for point in path.get("d", "")[1:].split("L"):
                x, y = map(float, point.split())
                assert svg.LEFT <= x <= svg.WIDTH - svg.RIGHT and svg.TOP <= y <= svg.HEIGHT - svg.BOTTOM
    labels = [float(text.get("y", "")) for text in root.iter(f"{NAMESPACE}text") if text.get("class")]
    assert all(below - above >= svg.ROW - 0.2 for above, below in zip(sorted(labels), sorted(labels)[1:]))
    assert all(0 < label < svg.HEIGHT for label in labels)


@pytest.mark.parametrize("highest, ticks", [(0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]), (7, ["0", "1", "2", "3"]),
                                            (294, ["0", "50", "100"]), (3691, ["0", "500", "1,000"])])
def test_ticks_are_at_round_numbers(highest: float, ticks: list[str]) -> None:
    names = [name for _, name in svg.scale_counts([highest]).ticks]
    assert names[:len(ticks)] == ticks and 4 <= len(names) <= 9


def test_a_long_line_keeps_its_peaks_and_its_end() -> None:
    line = [(float(x), 1000.0 if x == 777 else 1.0) for x in range(5000)]
    short = thin(line, 100)
    assert len(short) <= 102 and (777.0, 1000.0) in short and short[-1] == line[-1]
    assert thin(line[:50], 100) == line[:50]


def test_lines_are_extended_to_the_end_of_the_longest() -> None:
    assert extend({"a": [(0, 0), (2, 5)], "b": [(0, 0), (3, 0)], "none": []}) == {
        "a": [(0, 0), (2, 5), (3, 5)], "b": [(0, 0), (3, 0)], "none": []}


def test_there_are_colours_for_a_light_and_a_dark_page() -> None:
    text = svg.draw(count(a=RISING))
    light, dark = text.split("prefers-color-scheme:dark")
    assert ".page{fill:#fff}" in light and ".page{fill:#0d1117}" in dark
