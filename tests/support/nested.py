"""Run pytest within a test: with the conftest.py of the tests, on modules that the test writes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from support.settings import DEADLINE, ROOT


def command(folder: Path, modules: Mapping[str, str], *options: str) -> list[str]:
    """Write modules, given by their paths in a folder, and return the command that runs their tests."""
    for name, text in modules.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    path = f"PYTHONPATH={ROOT / 'tests'}:{ROOT}:{os.environ.get('PYTHONPATH', '')}"
    return ["env", "--unset=PYTEST_ADDOPTS", path, sys.executable, "-m", "pytest", "-p", "conftest",
            "-p", "no:cacheprovider", "-q", f"--rootdir={folder}", *options, *(str(folder / name) for name in modules)]


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the command that command() returns to its end."""
    return subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=DEADLINE * 2)
