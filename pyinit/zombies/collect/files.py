"""Read the small files of /proc and of the cgroup file system."""

from __future__ import annotations

import os
from typing import Optional

# Bytes that one read(2) asks for, enough for a whole file of /proc: the kernel makes it anew for each read, proc(5).
ROOM = 65536


def read(path: str) -> bytes:
    """Return the content of a file. Raises OSError."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        content = piece = os.read(file, ROOM)
        while len(piece) == ROOM:  # as the status of a process in thousands of groups
            piece = os.read(file, ROOM)
            content += piece
        return content
    finally:
        os.close(file)


def read_start(path: str, size: int) -> bytes:
    """Return at most `size` bytes from the beginning of a file, or empty bytes if it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(file, size)
        finally:
            os.close(file)
    except OSError:
        return b""


def read_or_nothing(path: str) -> bytes:
    """Return the content of a file, or empty bytes if it cannot be read."""
    try:
        return read(path)
    except OSError:
        return b""


def read_number(path: str) -> Optional[int]:
    """Return the number in a file, or None if it holds no number, as with `max`, or cannot be read."""
    content = read_or_nothing(path).strip()
    return int(content) if content.isdigit() else None
