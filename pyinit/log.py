"""Messages: an event is told by name; how it is worded is the personality's, in a module loaded with the first one."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

LAST_WORDS = b"pyinit: out of memory or of descriptors\n"
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
        if level > self.verbosity and level > FATAL:
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
        except BaseException:  # there is no memory; what is fatal is said with what is there
            if level == FATAL:
                write_last_words()


def write_last_words() -> None:
    """Say that there is no memory, without needing any. Never raises."""
    try:
        posix.write(2, LAST_WORDS)
    except BaseException:
        pass
