"""Log events by name. messages.py has the text of each event, and the personality gives the prefix."""

from __future__ import annotations

import posix

LAST_WORDS = b"pyinit: out of memory or of descriptors\n"
FATAL, WARNING, INFORMATION, DEBUG = 0, 1, 2, 3
# By level: the prefix of a message, with pyinit's PID for "{pid}", and the descriptor that it is written to.
PREFIXES = ("pyinit: ", "pyinit: warning: ", "pyinit: ", "pyinit: ")
DESCRIPTORS = (2, 2, 2, 2)


class Log:
    """Logs events whose level is enabled."""

    __slots__ = ("verbosity", "prefixes", "descriptors")

    def __init__(self, verbosity: int, prefixes: tuple[str, ...] = PREFIXES,
                 descriptors: tuple[int, ...] = DESCRIPTORS) -> None:
        self.verbosity = verbosity
        self.prefixes = prefixes
        self.descriptors = descriptors

    def tell(self, level: int, event: str, *arguments: object) -> None:
        """Log an event, the name of a function of messages.py, if its level is enabled. Never raises."""
        if level > self.verbosity and level > FATAL:
            return
        try:
            from .linux.output import write_line

            prefix = self.prefixes[level].format(pid=posix.getpid())
            try:
                from . import messages

                text = getattr(messages, event)(*arguments)
            except BaseException as error:
                text = f"{event} {arguments} (the text cannot be loaded: {error!r})"
            write_line(prefix + text, self.descriptors[level])
        except BaseException:  # out of memory
            if level == FATAL:
                write_last_words()


def write_last_words() -> None:
    """Say that there is no memory, without needing any. Never raises."""
    try:
        posix.write(2, LAST_WORDS)
    except BaseException:
        pass
