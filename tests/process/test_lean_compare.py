"""The lean init and tini, if it is installed, have the same outcome in the same cases."""

from __future__ import annotations

import pytest

from support.inits import Init
from support.lean_fixtures import init, machine, mode, pytest_generate_tests  # noqa: F401
from test_compare_tini import CASES, pytestmark, tini  # noqa: F401
from test_compare_tini import test_same_end_by_signal, test_same_refusals, test_same_stops  # noqa: F401

# The cases without options that the lean init lacks.
SAME = {name: command for name, (options, command) in CASES.items() if options in ([], ["-g"])}
NATIVE_ONLY = {"test_same_outcome", "test_same_end_by_signal", "test_same_refusals", "test_same_stops"}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_same_outcome(init: Init, tini: Init, name: str, options: list[str]) -> None:  # noqa: F811
    ours, theirs = init.run(SAME[name], options), tini.run(SAME[name], options)
    assert (ours.code, ours.out) == (theirs.code, theirs.out)
