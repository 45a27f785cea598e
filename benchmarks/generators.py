"""Choose and build the storm generator: in C if there is a compiler, else in Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TypedDict

FOLDER = os.path.dirname(os.path.abspath(__file__))


class Answer(TypedDict, total=False):
    """A generator's answer to a command, with the names that storm.c gives; instants in nanoseconds of CLOCK_MONOTONIC.

    Only a generator that measures its own orphans sends latencies and from_plan. The harness adds rate.
    """

    made: int
    refused: int
    first_refused: int
    start: int
    end: int
    late: int
    latest: int
    latencies: list[int]
    from_plan: list[int]
    rate: float


class Generator:
    """How to start a storm generator: its `argv`, to which the name is added; `description` is for the report."""

    def __init__(self, argv: list[str], description: str) -> None:
        self.argv = argv
        self.description = description

    def storm(self, name: str) -> list[str]:
        """Return the argv of a generator that sets its comm to `name` (15 bytes at most)."""
        return [*self.argv, name]

    def receiver(self, name: str) -> list[str]:
        """Return the argv of a main child that writes a time stamp for each SIGUSR1."""
        return [*self.argv, name, "receive"]


def build(folder: str) -> Generator:
    """Compile the generator in C into `folder` and return it, or the one in Python if that fails."""
    for compiler in ("cc", "gcc", "clang"):
        path = shutil.which(compiler)
        for static in (["-static"], []):  # a static program forks faster
            if path and compile_with([path, "-O2", *static], f"{folder}/storm"):
                return Generator([f"{folder}/storm"], f"C, by {compiler}{' -static' if static else ''}")
    return Generator([sys.executable, "-ISB", f"{FOLDER}/storm.py"], "Python: no C compiler here, so slower storms")


def observer(name: str) -> list[str]:
    """Return the argv of a generator that measures its own orphans, for machines without tracepoints."""
    return [sys.executable, "-ISB", f"{FOLDER}/pidfd.py", name]


def compile_with(command: list[str], target: str) -> bool:
    """Compile the generator; return whether that succeeded."""
    try:
        return subprocess.run([*command, "-o", target, f"{FOLDER}/storm.c"], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
