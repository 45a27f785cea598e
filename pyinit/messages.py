"""The text of each event, without the prefix of the personality; loaded with the first message."""

from __future__ import annotations

from .linux.signal_names import signal_name


def unexpected(error: BaseException) -> str:
    """An unexpected error has occurred; pyinit goes on."""
    return f"unexpected {error!r}: going on"


def cannot_wait(error: OSError) -> str:
    """The kernel or a sandbox keeps refusing the wait for a signal; the pause ends."""
    return f"cannot wait for signals: {error.strerror}: expected that sigwait(3) is allowed"


def not_adopting() -> str:
    """pyinit is neither PID 1 nor a subreaper."""
    return ("not PID 1 and not a subreaper: orphans are not adopted, so zombie reaping won't work (run it as PID 1, or "
            "with -s)")


def no_subreaper() -> str:
    """prctl(2) was refused, or cannot be called."""
    return ("cannot become a subreaper: prctl(2) was refused, or this Python has no _ctypes; orphans are not adopted, "
            "so zombie reaping won't work (run it as PID 1)")


def no_parent_death_signal() -> str:
    """prctl(2) was refused, or cannot be called."""
    return "cannot set the parent-death signal: prctl(2) was refused, or this Python has no _ctypes"


def no_kernel_reaping(reason: str) -> str:
    """The waitpid loop reaps, although the kernel should."""
    return f"--reap kernel is not possible here ({reason}): reaping by the waitpid loop"


def killing_main(pid: int) -> str:
    """The main child has not ended in time."""
    return f"main child (PID {pid}) has not ended in time: killing it"


def terminating_all(seconds: float) -> str:
    """The main child has ended, and the processes that are left get SIGTERM or the signal that was forwarded."""
    return f"asking the remaining processes to end, within {seconds:g} seconds"


def killing_all() -> str:
    """The processes that are left have not ended in time."""
    return "killing the remaining processes"


def environment_unknown(reason: str) -> str:
    """/proc/self/environ cannot be read."""
    return (f"cannot read /proc/self/environ ({reason}): LC_CTYPE is passed on as it is, and CPython may have set it")


def not_forked(name: str, reason: str) -> str:
    """fork(2) has failed: there is no main child."""
    return f"cannot start '{name}': fork: {reason}"


def not_executed(name: str, reason: str) -> str:
    """The main child could not run its command."""
    return f"cannot run '{name}': {reason}"


def spawned(name: str, pid: int) -> str:
    """The main child has been started."""
    return f"started '{name}' with PID {pid}"


def forwarded(number: int, new: int) -> str:
    """A signal was forwarded as `new`, or dropped if that is 0."""
    if not new:
        return f"dropped {signal_name(number)}"
    return f"forwarded {signal_name(new)}" + (f" for {signal_name(number)}" if new != number else "")


def not_forwarded(number: int, reason: str) -> str:
    """The kernel refused to send a signal."""
    return f"cannot forward {signal_name(number)}: {reason}"


def reaped(pid: int, code: int) -> str:
    """A child was reaped; code is its exit code, 128 + N if signal N killed it."""
    return f"reaped PID {pid}, exit code {code}"


def orphan_reaped(pid: int) -> str:
    """For -w: an orphan was reaped."""
    return f"reaped zombie process with PID {pid}"


def status_lost(pid: int) -> str:
    """The main child has ended, and its status is not known."""
    return f"the status of the main child (PID {pid}) was lost"


def ended(pid: int, code: int) -> str:
    """The main child has ended, and nothing is left to be reaped."""
    return f"main child (PID {pid}) ended with exit code {code}"
