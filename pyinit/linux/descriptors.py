"""Closing what was inherited; loaded when asked for."""

from __future__ import annotations

import posix

from .. import bundle_file


def close_all(needed: set[int]) -> None:
    """Close every descriptor above stderr but those needed and the bundle's. Raises OSError without /proc."""
    for name in posix.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in needed and int(name) != bundle_file:
            try:
                posix.close(int(name))
            except OSError:
                pass  # the one that the folder itself was read by
