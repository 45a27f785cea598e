"""Select the tests of a plain run, order them, and print how many are left to `pytest --everything`.

A plain run is for a first-time user: it takes two minutes on two cores and needs neither root nor podman.
A test is in the plain run unless one of these holds:

* It has the marker `everything`, whose argument names its group.
* It has the marker `container`: it needs podman and images, and several seconds for each container.
* It has the marker `vm`: it needs QEMU and kernels, and minutes for each kernel.
* It combines two or more unusual ways to run pyinit, see USUAL.
* It has the marker `usual`, whose arguments name dimensions of USUAL, and one of these has an unusual value. A comment
  at the marker says why the dimension makes no difference there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Optional, TypeVar

import pytest

# The usual value of each dimension that fixtures add to a test, by the fixture's name. Every Linux supports the usual
# values without root. A plain run departs from them in one dimension at a time, which finds a fault of PID 1, of kernel
# reaping or of `python -m pyinit`. Only a fault of two of them together needs the other combinations.
USUAL = {"mode": "subreaper", "reaper": "wait", "any_init": "launcher"}

COMBINATIONS = "further combinations of mode, reaper and command"
CONTAINERS = "in containers"
VIRTUAL_MACHINES = "in virtual machines"

# The folders of tests, the quickest first.
LAYERS = ("unit", "process", "container", "vm")

Number = TypeVar("Number", int, float)


# pytest_configure() sets these before any module of tests is imported.
everything = False
left_out_only = False


def amount(plain: Number, complete: Number) -> Number:
    """Return how often, or for how many seconds, a test tries: less in a plain run than with --everything."""
    return complete if everything else plain


def is_combination(parameters: Mapping[str, object], usual: Collection[str] = ()) -> bool:
    """Say whether more than one dimension of USUAL, or one that `usual` names, has an unusual value.

    A dimension that is absent has the usual value.
    """
    unusual = {name for name, value in USUAL.items() if parameters.get(name, value) != value}
    return len(unusual) > 1 or not unusual.isdisjoint(usual)


def group_of(item: pytest.Item) -> Optional[str]:
    """Return the group that a test is left out with, or None if it is in the plain run."""
    marker = item.get_closest_marker("everything")
    if marker:
        group: str = marker.args[0]
        return group
    if item.get_closest_marker("container"):
        return CONTAINERS
    if item.get_closest_marker("vm"):
        return VIRTUAL_MACHINES
    usual = {name for mark in item.iter_markers("usual") for name in mark.args}
    return COMBINATIONS if is_combination(parameters_of(item), usual) else None


def parameters_of(item: pytest.Item) -> Mapping[str, object]:
    """Return the value of each parameter of a test."""
    return item.callspec.params if hasattr(item, "callspec") else {}


def layer_of(item: pytest.Item) -> int:
    """Return the index of a test's folder in LAYERS, or len(LAYERS) for any other folder."""
    folder = item.path.parent.name
    return LAYERS.index(folder) if folder in LAYERS else len(LAYERS)


def is_selected(item: pytest.Item) -> bool:
    """Say whether a test runs: every test with --everything, and with --left-out those that the plain run leaves out.

    --left-out also runs all tests of a module that uses amount(), as they try more often than in the plain run.
    """
    if left_out_only:
        return group_of(item) is not None or hasattr(getattr(item, "module", None), "amount")
    return everything or group_of(item) is None


class Selection:
    """A pytest plugin that deselects the tests left to --everything, runs the quick layers first, and reports both."""

    def __init__(self) -> None:
        self.left_out: Counter[str] = Counter()

    # Last: pytest has grouped the tests by the fixtures that they share, and a stable sort keeps that order.
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Deselect and sort tests. A report counts a deselected test neither as passed nor as skipped."""
        selected = [item for item in items if is_selected(item)]
        left_out = [item for item in items if not is_selected(item)]
        self.left_out.update(filter(None, map(group_of, left_out)))
        config.hook.pytest_deselected(items=left_out)
        items[:] = sorted(selected, key=layer_of)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the groups that were left out, and the option that runs them."""
        if self.left_out:
            terminalreporter.write_line(describe(self.left_out), yellow=True)


def describe(left_out: Mapping[str, int]) -> str:
    """Return a line that says how many tests of each group were left out, the largest group first."""
    groups = sorted(left_out.items(), key=lambda pair: (-pair[1], pair[0]))
    listed = ", ".join(f"{count} {group}" for group, count in groups)
    return f"Left out: {sum(left_out.values())} tests ({listed}). Run them, too: pytest --everything"
