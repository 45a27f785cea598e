"""The tests with the marker `core` pass under each supported Python on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from support.machine import find_pythons, version_of
from support.settings import PYTHON, ROOT

OTHERS = {version: path for version, path in find_pythons().items() if version != version_of(PYTHON)}
pytestmark = [pytest.mark.everything("under another Python"),
              pytest.mark.skipif("PYINIT_TEST_PYTHON" in os.environ, reason="this is the run under another Python")]


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future]]:
    """Run the core under each version, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield {version: pool.submit(run_core, path) for version, path in OTHERS.items()}


def run_core(python: str) -> subprocess.CompletedProcess:
    """Run the core tests under another interpreter; pytest itself runs under this one.

    It is a plain run: a fault that needs two unusual ways together does not depend on the interpreter.
    """
    environment = {**os.environ, "PYINIT_TEST_PYTHON": python, "PYINIT_EARLY_SIGNALS": "30"}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "core", "-p", "no:cacheprovider", ROOT / "tests"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", OTHERS)
def test_core(version: str, runs: dict[str, Future]) -> None:
    result = runs[version].result()
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
    assert " passed" in result.stdout


def test_more_than_one_is_found() -> None:
    if not OTHERS:
        pytest.skip("this machine has no other Python from 3.9 on")
    assert all(version_of(path) == version for version, path in OTHERS.items())
