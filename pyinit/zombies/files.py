"""Reading the small files of /proc and of the cgroup file system."""

from __future__ import annotations

import os
from typing import Optional

# Enough for each file that is read here; of a command line, what a line of a report can show.
READ_SIZE = 4096


def read(path: str) -> bytes:
    """The beginning of a file, by one read(2), as the kernel makes it anew for each. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, READ_SIZE)
    finally:
        os.close(file)


def read_or_nothing(path: str) -> bytes:
    """The same; empty where it cannot be read."""
    try:
        return read(path)
    except OSError:
        return b""


def read_number(path: str) -> Optional[int]:
    """The number in a file; None where there is none, as in `max`."""
    content = read_or_nothing(path).strip()
    return int(content) if content.isdigit() else None
