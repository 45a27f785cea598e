"""How pyinit words what happens: a function an event, each returns a line."""

from __future__ import annotations

from ..signal_names import signal_name

DESCRIPTORS = (2, 2, 2, 2)  # where messages go, by level


def unexpected(error: BaseException) -> str:
    """Something failed that should not have; pyinit goes on."""
    return f"pyinit: warning: unexpected {error!r}: going on"


def cannot_wait(error: OSError) -> str:
    """The kernel or a sandbox goes on refusing to wait for a signal; the pause ends."""
    return f"pyinit: cannot wait for signals: {error.strerror}: expected that sigwait(3) is allowed"


def not_adopting() -> str:
    """Neither PID 1 nor a subreaper."""
    return ("pyinit: warning: not PID 1 and not a subreaper: orphans are not adopted, so zombie reaping won't work "
            "(run it as PID 1, or with -s)")


def no_subreaper() -> str:
    """prctl(2) was refused, or cannot be called."""
    return "pyinit: warning: cannot become a subreaper: prctl(2) was refused, or this Python has no _ctypes"


def no_parent_death_signal() -> str:
    """prctl(2) was refused, or cannot be called."""
    return "pyinit: warning: cannot set the parent-death signal: prctl(2) was refused, or this Python has no _ctypes"


def no_kernel_reaping(reason: str) -> str:
    """The waitpid loop is used though the kernel was to reap."""
    return f"pyinit: warning: --reap kernel is not possible here ({reason}): reaping by the waitpid loop"


def killing_main(pid: int) -> str:
    """The main child has not ended in time."""
    return f"pyinit: main child (PID {pid}) has not ended in time: killing it"


def terminating_all(seconds: float) -> str:
    """The main child has ended, and what is left is asked to."""
    return f"pyinit: asking what is left to end, within {seconds:g} seconds"


def killing_all() -> str:
    """What is left has not ended in time."""
    return "pyinit: killing what is left"


def environment_unknown(reason: str) -> str:
    """/proc/self/environ cannot be read."""
    return (f"pyinit: warning: cannot read /proc/self/environ ({reason}): LC_CTYPE is passed on as it is, and CPython "
            "may have set it")


def not_forked(name: str, reason: str) -> str:
    """There is no main child."""
    return f"pyinit: cannot start '{name}': fork: {reason}"


def not_executed(name: str, reason: str) -> str:
    """The main child could not run its command."""
    return f"pyinit: cannot run '{name}': {reason}"


def spawned(name: str, pid: int) -> str:
    """The main child runs."""
    return f"pyinit: started '{name}' with PID {pid}"


def not_detached(error: OSError) -> str:
    """pyinit has no controlling terminal to give up."""
    return f"pyinit: no terminal given up: {error.strerror}"


def detached(leader: bool) -> str:
    """pyinit gave up its controlling terminal, which raises SIGHUP and SIGCONT if it led the session."""
    return "pyinit: terminal given up" + (", SIGHUP and SIGCONT expected" if leader else "")


def not_attached(error: OSError) -> str:
    """The main child's session got no terminal."""
    return f"pyinit: no terminal taken: {error.strerror}"


def session_started() -> str:
    """The main child leads a session."""
    return "pyinit: session started"


def received(number: int) -> str:
    """A signal was taken, 0 when a deadline came; what becomes of it is told by the next message."""
    return ""


def hand_off_ignored(number: int) -> str:
    """The signal was of pyinit's own making."""
    return f"pyinit: {signal_name(number)} is of the terminal given up: not forwarded"


def rewritten(number: int, new: int) -> str:
    """Another signal is sent in place of the one received; 0 is none."""
    return f"pyinit: {signal_name(number)} becomes {signal_name(new)}" if new else ""


def forwarded(number: int) -> str:
    """The signal was sent on; 0 is none."""
    return f"pyinit: forwarded {signal_name(number)}" if number else "pyinit: dropped a signal"


def not_forwarded(number: int, reason: str) -> str:
    """The kernel refused to send it."""
    return f"pyinit: warning: cannot forward {signal_name(number)}: {reason}"


def suspending() -> str:
    """pyinit stops itself."""
    return "pyinit: stopping until SIGCONT"


def reaped(pid: int, status: int, code: int, is_main: bool) -> str:
    """A child was reaped; code is its exit code, 128 + N if signal N killed it."""
    return f"pyinit: reaped PID {pid}, exit code {code}"


def orphan_reaped(pid: int) -> str:
    """For -w: an orphan was reaped."""
    return f"pyinit: warning: reaped zombie process with PID {pid}"


def status_lost(pid: int) -> str:
    """The main child is gone and how it ended is not known."""
    return f"pyinit: warning: the status of the main child (PID {pid}) was lost"


def ended(pid: int, status: int, code: int) -> str:
    """The main child has ended, and nothing is left to be reaped."""
    return f"pyinit: main child (PID {pid}) ended with exit code {code}"
