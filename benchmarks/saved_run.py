"""Save figures as JSON, merge them with those of other runs, and make pictures and tables of them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from . import figures, svg
from .report import Result

FILE = "run.json"
TABLES = "tables.md"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The folder of this checkout's pictures. Writing pictures there also replaces the tables in DOCUMENTS.
FOLDER = os.path.join(ROOT, "docs", "figures")
DOCUMENTS = ("README.md", "docs/benchmarks.md", "docs/lean.md")


def save(head: dict[str, Any], results: Sequence[Result]) -> dict[str, Any]:
    """Return all figures of a run and the points of all charts, in types that JSON has. The tables are made of them."""
    experiments = []
    for result in results:
        fields = asdict(result)
        for name in ("repeats", "first", "rows", "columns"):
            del fields[name]
        experiments.append({**fields, "run": head})
    return {**head, "experiments": experiments}


def write(path: str, content: dict[str, Any]) -> None:
    """Write figures to a file, each point of a chart on one line. Raises OSError."""
    text = json.dumps(content, indent=1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(re.sub(r"\[\s+([-+.\de]+),\s+([-+.\de]+)\s+\]", r"[\1, \2]", text) + "\n")


def read(path: str) -> dict[str, Any]:
    """Read figures from a file. Raises OSError, or a ValueError that names the file if it holds no figures."""
    with open(path, encoding="utf-8") as file:
        try:
            content = json.load(file)
            if all("run" in experiment and "charts" in experiment for experiment in content["experiments"]):
                return dict(content)
        except (ValueError, KeyError, TypeError):
            pass
    raise ValueError(f"{path}: expected figures that --json or --figures has written")


def write_figures(folder: str, content: dict[str, Any]) -> list[str]:
    """Write pictures, tables and figures to a folder; return the paths of the written files.

    The folder keeps its figures of other experiments. If it is FOLDER, the tables are in DOCUMENTS, else in a file.
    Raises OSError, ValueError.
    """
    experiments = keep(folder, content)
    tables = figures.make_tables(experiments)
    texts = {os.path.join(folder, name): svg.draw(chart) for name, chart in figures.make_pictures(experiments).items()}
    if os.path.realpath(folder) == os.path.realpath(FOLDER):
        texts.update(fill_documents(tables))
    else:
        texts[os.path.join(folder, TABLES)] = "\n".join(f"## {name}\n\n{table}" for name, table in tables.items())
    for path, text in texts.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    return [os.path.join(folder, FILE), *texts]


def keep(folder: str, content: dict[str, Any]) -> list[dict[str, Any]]:
    """Write figures to a folder, which keeps its figures of other experiments. Return all experiments that it then has.

    Raises OSError, ValueError.
    """
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, FILE)
    experiments = merge(read(path)["experiments"] if os.path.exists(path) else [], content["experiments"])
    pictures = figures.make_pictures(experiments)
    experiments = [keep_charts(experiment, pictures) for experiment in experiments]
    write(path, {"experiments": experiments})
    return experiments


def merge(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the experiments of both runs, sorted by name; a new one replaces an old one of the same name."""
    both = {experiment["name"]: experiment for experiment in [*old, *new]}
    return [both[name] for name in sorted(both)]


def keep_charts(experiment: dict[str, Any], pictures: dict[str, Any]) -> dict[str, Any]:
    """Return an experiment with only the charts, and only their lines, that are drawn in a picture."""
    drawn = {chart.title: asdict(chart) for chart in pictures.values()}
    titles = [chart["title"] for chart in experiment["charts"]]
    return {**experiment, "charts": [drawn[title] for title in titles if title in drawn]}


def fill_documents(tables: dict[str, str]) -> dict[str, str]:
    """Return the text of each document with the tables of a run, by path. Raises OSError, ValueError."""
    filled = {}
    for name in DOCUMENTS:
        path = os.path.join(ROOT, name)
        with open(path, encoding="utf-8") as file:
            filled[path] = figures.fill(file.read(), tables)
    return filled
