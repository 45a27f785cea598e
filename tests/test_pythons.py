"""The core of the suite under each Python on the machine that pyinit supports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from support import PYTHON, find_pythons, version_of

OTHERS = {version: path for version, path in find_pythons().items() if version != version_of(PYTHON)}
pytestmark = pytest.mark.skipif("PYINIT_TEST_PYTHON" in os.environ, reason="this is the run under another Python")


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future]]:
    """A run for each version, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield {version: pool.submit(run_core, path) for version, path in OTHERS.items()}


def run_core(python: str) -> subprocess.CompletedProcess:
    """Run the core; pytest itself stays where it is, what it tests runs under the other interpreter."""
    environment = {**os.environ, "PYINIT_TEST_PYTHON": python, "PYINIT_EARLY_SIGNALS": "30"}
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-m", "core", "-p", "no:cacheprovider",
                           Path(__file__).parent], env=environment, capture_output=True, text=True, timeout=500)


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
