"""Choosing and building the storm generator: C when there is a compiler, else Python."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

FOLDER = os.path.dirname(os.path.abspath(__file__))


class Generator:
    """How to start a storm generator: `argv` with the name it is to have, and what it is, for the report."""

    def __init__(self, argv: list[str], description: str) -> None:
        self.argv = argv
        self.description = description
        self.compiled = description.startswith("C")

    def storm(self, name: str) -> list[str]:
        """The argv of a generator whose comm is `name` (15 bytes at most)."""
        return [*self.argv, name]

    def receiver(self, name: str) -> list[str]:
        """The argv of a main child that stamps each SIGUSR1."""
        return [*self.argv, name, "receive"]


def build(folder: str) -> Generator:
    """Compile the generator into `folder`; the Python one where that is not possible."""
    for compiler in ("cc", "gcc", "clang"):
        path = shutil.which(compiler)
        for static in (["-static"], []):  # a static program forks faster
            if path and compile_with([path, "-O2", *static], f"{folder}/storm"):
                return Generator([f"{folder}/storm"], f"C, by {compiler}{' -static' if static else ''}")
    return Generator([sys.executable, "-ISB", f"{FOLDER}/storm.py"], "Python: no C compiler here, so slower storms")


def observer(name: str) -> list[str]:
    """The argv of a generator that measures its own orphans, for machines without tracepoints."""
    return [sys.executable, "-ISB", f"{FOLDER}/pidfd.py", name]


def compile_with(command: list[str], target: str) -> bool:
    """Whether the compiler made the program."""
    try:
        return subprocess.run([*command, "-o", target, f"{FOLDER}/storm.c"], stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
