"""The one record between what a person asked for and what the supervisor does."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own flag costs 5 ms of imports; checkers take this name as well
if TYPE_CHECKING:
    from typing import Any


class Options:
    """Everything a command line or an environment can ask for; nothing behind it reads argv or environ again.

    name                 what messages are signed with
    command              the main child's argv, decoded as UTF-8 with surrogateescape: any bytes survive
    show                 "help", "license" or "version": print that text and exit 0; "" is to run
    pause                no main child: reap until SIGINT or SIGTERM
    subreaper            adopt orphans without being PID 1, prctl(2) PR_SET_CHILD_SUBREAPER
    parent_death_signal  sent to pyinit when its parent exits, prctl(2) PR_SET_PDEATHSIG; 0 is none
    group                forward signals to the main child's process group
    remap_exit           exit codes that are reported as 0
    warn_on_reap         one warning for each orphan reaped
    verbosity            0 fatal, 1 warnings, 2 information, 3 debug
    """

    __slots__ = ("name", "command", "show", "pause", "subreaper", "parent_death_signal", "group", "remap_exit",
                 "warn_on_reap", "verbosity")

    def __init__(self, **given: Any) -> None:
        self.name = "pyinit"
        self.command: list[str] = []
        self.show = ""
        self.pause = False
        self.subreaper = False
        self.parent_death_signal = 0
        self.group = False
        self.remap_exit: set[int] = set()
        self.warn_on_reap = False
        self.verbosity = 1
        for field, value in given.items():
            setattr(self, field, value)


class UsageError(Exception):
    """A command line or an environment that cannot be obeyed; the text names the input and what was expected."""
