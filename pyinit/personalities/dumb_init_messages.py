"""How dumb-init words what happens: a function an event, each returns a line. The events are native_messages'."""

from __future__ import annotations

DESCRIPTORS = (2, 2, 2, 2)  # where messages go, by level


def __getattr__(event: str):
    """An event that dumb-init has no words for: pyinit's."""
    from . import native_messages

    words = getattr(native_messages, event)
    return lambda *arguments: words(*arguments).replace("pyinit: ", "[dumb-init] ")


def not_forked(name: str, reason: str) -> str:
    return "[dumb-init] Unable to fork. Exiting."


def not_executed(name: str, reason: str) -> str:
    return f"[dumb-init] {name}: {reason}"


def spawned(name: str, pid: int) -> str:
    return f"[dumb-init] Child spawned with PID {pid}."


def not_detached(error: OSError) -> str:
    return f"[dumb-init] Unable to detach from controlling tty (errno={error.errno} {error.strerror})."


def detached(leader: bool) -> str:
    return ("[dumb-init] Detached from controlling tty, ignoring the first SIGHUP and SIGCONT we receive." if leader
            else "[dumb-init] Detached from controlling tty, but was not session leader.")


def not_attached(error: OSError) -> str:
    return f"[dumb-init] Unable to attach to controlling tty (errno={error.errno} {error.strerror})."


def session_started() -> str:
    return "[dumb-init] setsid complete."


def received(number: int) -> str:
    if not number:
        return ""
    return f"[dumb-init] Received signal {number}."


def hand_off_ignored(number: int) -> str:
    return f"[dumb-init] Ignoring tty hand-off signal {number}."


def rewritten(number: int, new: int) -> str:
    return f"[dumb-init] Translating signal {number} to {new}."


def forwarded(number: int) -> str:
    return (f"[dumb-init] Forwarded signal {number} to children." if number
            else "[dumb-init] Not forwarding signal 0 to children (ignored).")


def suspending() -> str:
    return "[dumb-init] Suspending self due to TTY signal."


def reaped(pid: int, status: int, code: int, is_main: bool) -> str:
    killed_by = status & 0x7f  # wait(2)
    if killed_by:
        return f"[dumb-init] A child with PID {pid} was terminated by signal {killed_by}."
    return f"[dumb-init] A child with PID {pid} exited with exit status {code}."


def ended(pid: int, status: int, code: int) -> str:
    return f"[dumb-init] Child exited with status {code}. Goodbye."
