"""Wait for conditions that can only be polled."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from support.settings import DEADLINE


def wait_until(condition: Callable[[], object], what: str, deadline: float = DEADLINE) -> None:
    """Poll a condition until it holds; fail after `deadline` seconds, with `what` in the message."""
    end = time.monotonic() + deadline
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {deadline} s in vain for {what}")
        select.select([], [], [], 0.002)


def observe_for(seconds: float) -> None:
    """Let time pass in a test that nothing happens."""
    select.select([], [], [], seconds)
