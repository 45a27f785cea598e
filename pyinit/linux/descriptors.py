"""Close inherited descriptors; loaded when asked for."""

from __future__ import annotations

import posix


def close_all(needed: set[int]) -> None:
    """Close every descriptor above stderr but those needed. Raises OSError without /proc."""
    for name in posix.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in needed:
            try:
                posix.close(int(name))
            except OSError:
                pass  # the one with which listdir() read the folder
