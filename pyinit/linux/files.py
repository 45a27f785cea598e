"""Read a file whole, without the layers of open()."""

from __future__ import annotations

import posix


def read_file(path: str) -> bytes:
    """Return the whole of a file, read unbuffered. Raises OSError."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        content = b""
        while True:
            piece = posix.read(descriptor, 1 << 16)
            if not piece:
                return content
            content += piece
    finally:
        posix.close(descriptor)
