"""The one record that passes what the user asked for to the supervisor."""

from __future__ import annotations

from _signal import SIGINT, SIGQUIT, SIGTERM

TYPE_CHECKING = False  # typing's own flag costs 5 ms of imports; type checkers know this name, too
if TYPE_CHECKING:
    from typing import Mapping, Sequence

    from typing_extensions import dataclass_transform

    @dataclass_transform(kw_only_default=True)
    class Record:
        """Tells a type checker that the constructor of a subclass takes each annotated field by its name."""
if not TYPE_CHECKING:
    Record = object


class Options(Record):
    """Everything that a command line or an environment can ask for. The code that acts on it does not read them again.

    No default is changed in place, because all records share it. An unknown name is an error, at run time and for a
    type checker, which needs the type of each field.
    """

    # What to be
    command: Sequence[str] = ()  # the main child's argv, decoded as UTF-8 with surrogateescape: any bytes survive
    show: str = ""  # "help", "license" or "version": print that text and exit 0
    pause: bool = False  # no main child: reap until SIGINT or SIGTERM
    verbosity: int = 1  # 0 fatal, 1 warnings, 2 information, 3 debug

    # Adopting and reaping
    subreaper: bool = True  # adopt orphans also where pyinit is not PID 1, prctl(2) PR_SET_CHILD_SUBREAPER
    parent_death_signal: int = 0  # sent to pyinit when its parent exits, prctl(2) PR_SET_PDEATHSIG; 0 is none
    reap: str = ""  # "wait", or "kernel" by ignoring SIGCHLD; "" is "wait"
    warn_on_reap: bool = False  # one warning for each orphan reaped

    # Signals
    signal_to: str = "main"  # who gets them: "main" is the main child, "group" its process group, "all" all descendants
    rewrite: Mapping[int, int] = {}  # the signal that is forwarded for another; 0 drops it

    # The end
    remap_exit: frozenset[int] = frozenset()  # exit codes that are reported as 0
    grace: float = -1.0  # seconds between SIGTERM and SIGKILL for what the main child has left behind; -1 is no grace
    wait_all: bool = False  # once the main child has ended, wait for the rest
    kill_after: float = -1.0  # seconds between a termination signal and SIGKILL for the main child; -1 is never
    stop_signals: tuple[int, ...] = (SIGTERM, SIGINT, SIGQUIT)  # the termination signals
    ok_on_stop: bool = False  # a main child that died by a signal that pyinit forwarded counts as exit code 0
    stats: str = ""  # where the statistics go at the end: "" nowhere, "-" stderr, else a file
    stats_signal: int = 0  # write them when this signal arrives, and do not forward it; 0 is none

    # Only to act as another init
    announce: bool = True  # the pause says when it is not the first process, and why it ends
    warn_not_adopting: bool = False  # warn when neither PID 1 nor a subreaper
    isolation: str = "group"  # what the main child gets: "group" (with the terminal, if pyinit holds it), "session"
    # (with the terminal that pyinit gives up), "" nothing
    keep_signal_state: bool = True  # the main child gets the mask and ignored signals that pyinit was started with
    update_listen_pid: bool = False  # if LISTEN_PID names pyinit, it is set to the main child, sd_listen_fds(3)
    exit_codes: tuple[int, int, int] = (127, 126, 1)  # command not found, not executable, any other failure to run it
    change_directory: bool = False  # pyinit goes to / once the main child runs: it keeps no mount busy
    close_descriptors: bool = False  # pyinit closes all but stdio once the main child runs: it keeps no file open
    suspend: bool = False  # pyinit stops itself, SIGSTOP, after forwarding SIGTSTP, SIGTTIN or SIGTTOU
    end_signal: int = 0  # forwarded, as if received, when the main child has ended; 0 is none

    if not TYPE_CHECKING:  # with these, a type checker would accept every name
        def __init__(self, **given: object) -> None:
            for name, value in given.items():
                setattr(self, name, value)

        def __setattr__(self, name: str, value: object) -> None:
            if not hasattr(Options, name):
                raise AttributeError(f"no option is called {name}")
            object.__setattr__(self, name, value)

    def asks_for_more(self) -> bool:
        """Return whether pyinit has to load more modules for these options: see supervisor/selection.py."""
        return bool(self.warn_on_reap or self.reap == "kernel" or self.stats or self.stats_signal or self.wait_all
                    or self.grace >= 0 or self.kill_after >= 0)


class UsageError(Exception):
    """A command line or an environment that pyinit cannot obey. The text says why, and is shown as it is."""
