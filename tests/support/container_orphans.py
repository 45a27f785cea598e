"""Orphans left by a container, by podman exec or by a health check, and the seconds that a container has to stop."""

from __future__ import annotations

from support.containers import Lab, wait_for_children
from support.proc import children_of

COUNT = 50

# Seconds between SIGTERM and SIGKILL: for a container that ends by itself, and for one that ignores SIGTERM.
GRACE, SHORT_GRACE = 60, 2

# A health check that leaves a process behind. It runs only when a test starts it.
HEALTH_CHECK = ["--health-cmd", "sleep infinity >/dev/null 2>&1 &", "--health-interval", "disable"]


def leave_orphan_by_exec(lab: Lab, container: str, init: int) -> int:
    """Leave an orphan in a container by `podman exec`; return its PID on this machine. init: the PID of PID 1 here."""
    before = children_of(init)
    lab.podman("exec", container, "sh", "-c", "sleep infinity >/dev/null 2>&1 &")
    return wait_for_new_child(init, before)


def leave_orphan_by_health_check(lab: Lab, container: str, init: int) -> int:
    """Leave an orphan in a container by its health check, HEALTH_CHECK; return its PID on this machine."""
    before = children_of(init)
    lab.podman("healthcheck", "run", container)
    return wait_for_new_child(init, before)


def wait_for_new_child(pid: int, before: list[int]) -> int:
    """Wait until a process has one child more than `before`, and return the new child."""
    wait_for_children(pid, len(before) + 1)
    return (set(children_of(pid)) - set(before)).pop()
