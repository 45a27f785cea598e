"""Saved figures give the correct tables and pictures, and those in the documents match the saved figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import figures, saved_run, svg
from benchmarks.charts import COUNT, Chart
from benchmarks.report import Result
from support.settings import ROOT

FOLDER = ROOT / "docs/figures"
RUN = {"command": "python3 -m benchmarks", "quick": False, "busy": 0.02,
       "machine": {"cpu": "2 of 2 x CPU", "kernel": "Linux 6.18", "python": "CPython 3.11.2, /usr/bin/python3"},
       "inits": {"pyinit": {"version": "pyinit 0.1.0"}, "tini": {"version": "tini version 0.19.0 - git.de40ad0"},
                 "catatonit": {"version": "tini version 0.1.7_catatonit"}, "s6-svscan": {"version": "version unknown"}}}


def starts(**milliseconds: float) -> dict[str, Any]:
    """Return a saved experiment with the start of each init in ms; a name with _again is for the A/A check."""
    data = [{"init": name.replace("_again", " (again)"), "pid1_over_true_ns": value * 1e6,
             "to_mask_ns": [value * 5e5, value * 6e5, value * 9e6]} for name, value in milliseconds.items()]
    return {"name": "start", "data": data, "charts": [], "run": RUN}


def rows(table: str) -> dict[str, list[str]]:
    """Return the cells of each row of a Markdown table by the row's first cell."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {line[0]: line[1:] for line in lines}


def test_a_table_has_the_spread_and_calls_equal_what_is_inside() -> None:
    table = rows(figures.make_tables([starts(pyinit=8, pyinit_again=10, tini=7, catatonit=6.5)])["inits"])
    head = table[""]
    start = dict(zip(head, table["start over `true`, as PID 1"]))
    assert (start["pyinit"], start["tini"], start["dumb-init"]) == ("8.00 ms", "7.00 ms", "-")
    assert start["A/A spread"] == "1.25" and start["times the best peer"] == "pyinit equal"
    start = dict(zip(head, rows(figures.make_tables([starts(pyinit=8, pyinit_again=9, tini=4)])["inits"])
                     ["start over `true`, as PID 1"]))
    assert start["times the best peer"] == "pyinit 2.00"


def test_the_window_is_the_median_and_nothing_if_it_never_ended() -> None:
    assert figures.take_window({"to_mask_ns": [1.0, 2.0, 9.0]}) == 2.0
    assert figures.take_window({"to_mask_ns": [1.0, None]}) is None
    assert figures.take_window({}) is None


def test_a_start_that_took_less_than_true_alone_is_no_figure() -> None:
    table = rows(figures.make_tables([starts(pyinit=8, tini=-0.1)])["inits"])
    cells = dict(zip(table[""], table["start over `true`, as PID 1"]))
    assert (cells["pyinit"], cells["tini"], cells["times the best peer"]) == ("8.00 ms", "-", "-")


def test_a_table_names_its_run_its_machine_and_the_peers_by_version() -> None:
    table = figures.make_tables([starts(pyinit=8, tini=7)])["inits"]
    assert "Run: `python3 -m benchmarks`. Machine: 2 of 2 x CPU, Linux 6.18, CPython 3.11.2, tini 0.19.0, " \
           "catatonit 0.1.7; when it began, other programs used 2% of the processors." in table.replace("\n", " ")
    assert "quick" not in table


def test_figures_of_two_runs_name_both() -> None:
    quick = {"name": "idle", "charts": [], "run": {**RUN, "quick": True, "priority": "real-time", "command":
                                                        "python3 -m benchmarks idle"},
             "data": [{"init": "pyinit", "wakeups_per_minute": 0.0}]}
    table = figures.make_tables([starts(pyinit=8), quick])["inits"]
    assert "`start`: Run: `python3 -m benchmarks`" in table
    assert "`idle`: Run: `python3 -m benchmarks idle`. A quick run: ignore small differences. Priority: real-time. " \
           "Machine" in table.replace("\n", " ")


def test_an_init_whose_orphans_the_kernel_frees_has_no_zombie() -> None:
    data = [{"init": "pyinit --reap kernel", "load": "5,000/s", "by_kernel": True, "latency_ns": {"p50": None}},
            {"init": "tini", "load": "5,000/s", "by_kernel": False, "latency_ns": {"p50": 2e4}}]
    table = rows(figures.make_tables([{"name": "reap", "data": data, "charts": [], "run": RUN}])["inits"])
    cells = dict(zip(table[""], table["reap latency p50, 5,000/s"]))
    assert (cells["`--reap kernel`"], cells["tini"], cells["pyinit"]) == ("no zombie", "20.0 us", "-")


def test_tables_of_experiments_that_were_not_run_are_left_out() -> None:
    assert figures.make_tables([]) == {}


def test_documents_are_filled_between_their_marks_again_and_again() -> None:
    text = "a\n<!-- figures: inits -->\nold\n<!-- end of figures -->\nb\n"
    once = figures.fill(text, {"inits": "| new |\n"})
    assert once == "a\n<!-- figures: inits -->\n\n| new |\n\n<!-- end of figures -->\nb\n"
    assert figures.fill(once, {"inits": "| new |\n"}) == once


def test_a_table_that_a_run_does_not_have_is_named() -> None:
    with pytest.raises(ValueError, match="figures: pauses: no such table in this run; expected one of inits"):
        figures.fill("<!-- figures: pauses -->\n<!-- end of figures -->\n", {"inits": "x"})


def test_saved_figures_are_merged_by_experiment_and_drawn_again(tmp_path: Path) -> None:
    chart = Chart("Zombies of RabbitMQ's health check", COUNT, "checks", "zombies", {"sleep": [(1.0, 2.0), (2.0, 5.0)]})
    rabbit = Result("rabbitmq", "t", ["init"], charts=[chart, Chart("not shown", COUNT, "x", "y")])
    saved_run.write_figures(str(tmp_path), saved_run.save(RUN, [rabbit]))
    written = saved_run.write_figures(str(tmp_path), {"experiments": [starts(pyinit=8, tini=4)]})
    assert [Path(path).name for path in written] == ["run.json", "rabbitmq.svg", "tables.md"]
    assert (tmp_path / "rabbitmq.svg").read_text() == svg.draw(chart)
    experiments = saved_run.read(str(tmp_path / "run.json"))["experiments"]
    assert [experiment["name"] for experiment in experiments] == ["rabbitmq", "start"]
    assert [chart["title"] for chart in experiments[0]["charts"]] == [chart.title]


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"experiments": [{"name": "start"}]}', "\x00"])
def test_a_file_without_figures_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "f.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="f.json: expected figures that --json or --figures has written"):
        saved_run.read(str(path))


@pytest.mark.parametrize("name", saved_run.DOCUMENTS)
def test_the_tables_of_a_document_are_those_of_the_saved_run(name: str) -> None:
    tables = figures.make_tables(saved_run.read(str(FOLDER / saved_run.FILE))["experiments"])
    text = (ROOT / name).read_text()
    assert figures.MARK.search(text)
    assert figures.fill(text, tables) == text, "see docs/benchmarks.md, Where the figures are from"


def test_the_pictures_are_those_of_the_saved_run() -> None:
    pictures = figures.make_pictures(saved_run.read(str(FOLDER / saved_run.FILE))["experiments"])
    assert set(pictures) == {path.name for path in FOLDER.glob("*.svg")}
    assert [name for name, chart in pictures.items() if (FOLDER / name).read_text() != svg.draw(chart)] == []


def test_saved_figures_are_json_with_a_point_on_each_line(tmp_path: Path) -> None:
    path = tmp_path / "f.json"
    content = {"points": [[1.5, -2e-05], [3, 4]], "more": [1, 2, 3]}
    saved_run.write(str(path), content)
    assert json.loads(path.read_text()) == content
    assert "  [1.5, -2e-05],\n" in path.read_text()
