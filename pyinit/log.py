"""Messages: one write(2) a line, and never an exception, whatever stderr is.

An event is told by name; how it is worded is the personality's, in a module that is loaded with the first message.
"""

from __future__ import annotations

import _signal
import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

FATAL, WARNING, INFORMATION, DEBUG = 0, 1, 2, 3


class Log:
    """Tells events up to a verbosity."""

    __slots__ = ("verbosity", "load_messages")

    def __init__(self, verbosity: int, load_messages: Callable) -> None:
        """load_messages() returns the module whose functions word the events."""
        self.verbosity = verbosity
        self.load_messages = load_messages

    def tell(self, level: int, event: str, *arguments: object) -> None:
        """Write what the personality says to an event, which may be nothing, where it says things of that level."""
        if level > self.verbosity:
            return
        try:
            messages = self.load_messages()
            text = getattr(messages, event)(*arguments)
            if text:
                write_line(text, messages.DESCRIPTORS[level])
        except BaseException as error:
            write_line(f"pyinit: {event} {arguments} (no better words: {error!r})")


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
