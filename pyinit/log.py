"""Messages: an event is told by name; how it is worded is the personality's, in a module loaded with the first one."""

from __future__ import annotations

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
        """Write what the personality says to an event, which may be nothing, where it says things of that level.

        Never raises.
        """
        if level > self.verbosity:
            return
        try:
            from .lines import write_line

            try:
                messages = self.load_messages()
                text = getattr(messages, event)(*arguments)
                if text:
                    write_line(text, messages.DESCRIPTORS[level])
            except BaseException as error:
                write_line(f"pyinit: {event} {arguments} (no better words: {error!r})")
        except BaseException:
            pass  # there is no memory: pyinit goes on without the message
