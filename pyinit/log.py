"""Messages on stderr: one write(2) a line, and never an exception, whatever stderr is."""

from __future__ import annotations

import _signal
import posix

WARNING, INFORMATION, DEBUG = 1, 2, 3


class Log:
    """Writes lines signed with a name, up to a verbosity."""

    __slots__ = ("name", "verbosity")

    def __init__(self, name: str, verbosity: int) -> None:
        self.name = name
        self.verbosity = verbosity

    def fatal(self, text: str) -> None:
        """Say why pyinit cannot go on; shown at every verbosity."""
        write_line(f"{self.name}: {text}")

    def warn(self, text: str) -> None:
        """Say what is wrong while pyinit goes on."""
        if self.verbosity >= WARNING:
            write_line(f"{self.name}: warning: {text}")

    def inform(self, text: str) -> None:
        """Say what happens, for -v."""
        if self.verbosity >= INFORMATION:
            write_line(f"{self.name}: {text}")

    def debug(self, text: str) -> None:
        """Say what happens to each signal and child, for -vv."""
        if self.verbosity >= DEBUG:
            write_line(f"{self.name}: {text}")


def write_line(text: str, descriptor: int = 2) -> None:
    """Write one line, or drop it where it cannot be written now: a full pipe must not stop the reaping."""
    try:
        import select

        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if poll.poll(0):
            posix.write(descriptor, text.encode("utf-8", "surrogateescape") + b"\n")
    except BaseException as error:
        consume_own_signal(error)


def consume_own_signal(error: BaseException) -> None:
    """Take back the SIGPIPE or SIGXFSZ that a failed write of ours has raised, write(2).

    It is blocked, so it stays pending, and the loop would forward it to the main child as if somebody had sent it. It
    is directed at this thread and so is taken before one that was sent to the process, signal(7).
    """
    raised = isinstance(error, BrokenPipeError) and _signal.SIGPIPE
    if isinstance(error, OSError) and error.errno == 27:  # EFBIG; `errno` is one import more
        raised = _signal.SIGXFSZ
    if raised:
        try:
            _signal.sigtimedwait((raised,), 0)
        except BaseException:
            pass  # nothing may be raised by a message
