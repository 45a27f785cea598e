"""Find out what this machine has: its kernel, emulators, and Pythons."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Optional

import pytest

from support.settings import DEADLINE


def emulate(machine: str) -> Optional[list[str]]:
    """Return the words to put in front of the argv of a machine's program: none on that machine, otherwise QEMU's user
    mode. Return None if that is not installed.

    Under QEMU a pause that is PID 1 ends on signals that the kernel would drop, as QEMU catches them.
    """
    if os.uname().machine == machine:
        return []
    emulator = shutil.which(f"qemu-{machine}-static")
    return [emulator] if emulator else None


def lean_command(machine: str, path: str) -> list[str]:
    """Return the command that runs a machine's lean program here; skip the test if it cannot run."""
    front = emulate(machine)
    if front is None:
        pytest.skip(f"qemu-{machine}-static is not installed")
    return [*front, path]


def kernel_can_reap() -> bool:
    """Say whether a pidfd reports how its process ended, which `--reap kernel` needs: from Linux 6.15 on."""
    major, minor = re.findall(r"\d+", os.uname().release)[:2]
    return (int(major), int(minor)) >= (6, 15)


def find_pythons() -> dict[str, str]:
    """Return the path of each CPython from 3.9 on by its version, one path for each version."""
    found: dict[str, str] = {}
    for path in ["/usr/bin/python3", *map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3")))]:
        version = version_of(path)
        if version and tuple(map(int, version.split(".")[:2])) >= (3, 9):
            found.setdefault(version, path)
    return found


def version_of(path: str) -> Optional[str]:
    """Return the version of a Python interpreter, or None if the program is not one or fails."""
    try:
        return subprocess.run([path, "-ISc", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], text=True,
                              capture_output=True, timeout=DEADLINE, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
