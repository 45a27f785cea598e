"""Reading the small files of /proc and of the cgroup file system."""

from __future__ import annotations

import os
from typing import Optional

# One read(2) brings a file of /proc whole if there is room: the kernel makes it anew for each, proc(5).
ROOM = 65536


def read(path: str) -> bytes:
    """A file, whole. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = piece = os.read(file, ROOM)
        while len(piece) == ROOM:  # somebody in thousands of groups
            piece = os.read(file, ROOM)
            content += piece
        return content
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
