"""Give the verdict on a group of zombies, or on the orphan of a probe, in one line: the cause, and what helps; pure."""

from __future__ import annotations

from ..collect import probe
from ..collect.containers import Container
from .report import (INIT_NOT_REAPING, NOT_WAITING, PARENT_STOPPED, REAPED_SLOWLY, TEARDOWN, THREADS_ALIVE, TRACED,
                     UNINTERRUPTIBLE, Group)
from ..collect.snapshot import Process

# What helps if PID 1 of a container does not reap.
REMEDY = "use pyinit as ENTRYPOINT, the engine's --init, or shareProcessNamespace with a pause that reaps"

# What a parent that does not wait does with SIGCHLD, signal(7). Ignoring SIGCHLD does not reap children for which
# clone(2) set another termination signal.
SIGCHLD_WORDS = {
    "default": "it has no handler for SIGCHLD",
    "caught": "it catches SIGCHLD, but does not wait for all",
    "ignored": "it ignores SIGCHLD only since they ended, or they are clone(2) children that raise none",
    "blocked": "it blocks SIGCHLD",
}


def explain(group: Group) -> str:
    """Return the verdict on a group."""
    return VERDICTS[group.cause](group)


def explain_not_waiting(group: Group) -> str:
    """Say why the parent does not wait, as far as its state and its handling of SIGCHLD show."""
    if group.parent_pid == 0:
        return ("their parent is outside this PID namespace and does not wait (exec into the container, nsenter); "
                "look from the machine itself")
    if group.parent is None:
        return f"their parent, PID {group.parent_pid}, is not to be seen: hidden (hidepid), or it has just ended"
    reason = SIGCHLD_WORDS[group.parent.status.sigchld]
    if group.parent.process.state == UNINTERRUPTIBLE:
        reason = "it is in an uninterruptible sleep (D)"
    return (f"{name_parent(group)} is alive and does not wait for them; {reason}; no init can reap them: fix its wait, "
            "restart it, or stop what starts them, such as a probe")


def explain_stopped(group: Group) -> str:
    """Say what continues the parent."""
    return f"{name_parent(group)} is stopped and cannot wait: send it SIGCONT, or end the debugger that has stopped it"


def explain_init(group: Group) -> str:
    """Say what to do about a PID 1 that does not reap."""
    where = "" if group.parent_pid == 1 else " of its PID namespace"
    return (f"{name_parent(group)} is PID 1{where} and does not reap them; if it has adopted them, {REMEDY}; where "
            "the image cannot be changed, a RuntimeClass that puts an init into it; if it has started them itself, fix "
            "its wait; a restart of the container clears them")


def explain_traced(group: Group) -> str:
    """Name the tracers, which have to wait before the parent can."""
    tracers = name_all(group.responsible) or "a process that is not to be seen"
    if [process.pid for process in group.responsible] == [group.parent_pid]:
        return f"traced by their parent, {tracers}, which does not wait for them: detach or end the debugger"
    return f"traced by {tracers}, which has to wait for them before their parent can: detach or end the debugger"


def explain_teardown(group: Group) -> str:
    """Name the processes that PID 1 of an ending namespace waits for."""
    if not group.responsible:
        return ("their PID namespace is torn down, and its PID 1 waits for a process that was put there from outside "
                "(exec into the container, nsenter), whose parent has to wait for it")
    sleep = ""
    if group.responsible[0].state == UNINTERRUPTIBLE:
        sleep = " in an uninterruptible sleep (D): see which disk, mount or frozen cgroup holds it"
    return f"their PID namespace is torn down, and its PID 1 waits for {name_all(group.responsible)}{sleep}"


def explain_threads(group: Group) -> str:
    """Name the processes whose main thread has ended before the others."""
    if group.responsible and group.responsible[0].state == UNINTERRUPTIBLE:
        return (f"the main thread has ended, and {name_all(group.responsible)} is in an uninterruptible sleep (D): no "
                "leak, but if it stays, see which disk, mount or frozen cgroup holds it")
    return (f"not a leak: the main thread of {name_all(group.responsible)} has ended and other threads go on; "
            "each zombie goes with the last of them")


def explain_slow(group: Group) -> str:
    """Say that the parent reaps: no zombie is left from the previous sample."""
    return f"not a leak: {name_parent(group)} does wait, the zombies of the previous sample are gone"


VERDICTS = {
    NOT_WAITING: explain_not_waiting,
    PARENT_STOPPED: explain_stopped,
    INIT_NOT_REAPING: explain_init,
    TRACED: explain_traced,
    TEARDOWN: explain_teardown,
    THREADS_ALIVE: explain_threads,
    REAPED_SLOWLY: explain_slow,
}


def explain_probe(finding: probe.Finding) -> str:
    """Return the verdict on the process that adopted the orphan of a probe."""
    who = f"{finding.name or 'a process'} (PID {finding.parent})"
    if finding.reaped:
        return f"reaped: {who} adopted an orphan and reaped it within {probe.SECONDS:g} seconds"
    remedy = REMEDY if finding.parent == 1 else "it is a subreaper, prctl(2), and no init helps: fix its wait"
    return (f"not reaped: {who} adopted an orphan and has not reaped it after {probe.SECONDS:g} seconds: {remedy}; the "
            f"orphan, PID {finding.orphan}, is now a zombie until PID {finding.parent} waits for it or ends")


def name_parent(group: Group) -> str:
    """Return the parent's name and PID."""
    return f"{group.parent.process.name} ({group.parent_pid})" if group.parent else f"PID {group.parent_pid}"


def name_all(processes: tuple[Process, ...]) -> str:
    """Return the names and PIDs of processes."""
    return ", ".join(f"{process.name} ({process.pid})" for process in processes)


# People compare the beginning of an ID.
ID_LENGTH = 12


def name_container(container: Container) -> str:
    """Return a container and its pod in a few words, with IDs cut, or "" on the bare machine."""
    if not container.runtime:
        return ""
    words = [container.runtime, container.name[:ID_LENGTH] if container.runtime != "systemd" else container.name]
    if container.pod:
        words += ["pod", container.pod[:ID_LENGTH]]
    return " ".join(word for word in words if word)
