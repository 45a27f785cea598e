"""The one record between what a person asked for and what the supervisor does."""

from __future__ import annotations

from _signal import SIGINT, SIGQUIT, SIGTERM

TYPE_CHECKING = False  # typing's own flag costs 5 ms of imports; checkers take this name as well
if TYPE_CHECKING:
    from typing import Mapping, Sequence


class Options:
    """Everything a command line or an environment can ask for; nothing behind it reads argv or environ again.

    No default can be changed in place, so that one record does not show in another. An unknown name is refused.
    """

    # What to be
    command: Sequence[str] = ()  # the main child's argv, decoded as UTF-8 with surrogateescape: any bytes survive
    show = ""  # "help", "license" or "version": print that text and exit 0
    pause = False  # no main child: reap until SIGINT or SIGTERM
    verbosity = 1  # 0 fatal, 1 warnings, 2 information, 3 debug

    # Adopting and reaping
    subreaper = False  # adopt orphans without being PID 1, prctl(2) PR_SET_CHILD_SUBREAPER
    parent_death_signal = 0  # sent to pyinit when its parent exits, prctl(2) PR_SET_PDEATHSIG; 0 is none
    reap = ""  # "wait", or "kernel" by ignoring SIGCHLD; "" is "wait"
    warn_on_reap = False  # one warning for each orphan reaped

    # Signals
    signal_to = "main"  # who is sent one: "main" the main child, "group" its process group, "all" every descendant
    rewrite: Mapping[int, int] = {}  # the signal that is forwarded for another; 0 drops it

    # The end
    remap_exit: frozenset[int] = frozenset()  # exit codes that are reported as 0
    grace = -1.0  # once the main child has ended, the seconds between SIGTERM and SIGKILL for the rest; -1 is no grace
    wait_all = False  # once the main child has ended, wait for the rest
    kill_after = -1.0  # seconds between a termination signal and SIGKILL for the main child; -1 is never
    stop_signals: tuple[int, ...] = (SIGTERM, SIGINT, SIGQUIT)  # the termination signals
    ok_on_stop = False  # a main child that died by a signal that pyinit forwarded counts as exit code 0
    stats = ""  # where the statistics go at the end: "" nowhere, "-" stderr, else a file
    stats_signal = 0  # write them when this signal comes, and do not forward it; 0 is none

    # Only to act as another init does
    announce = True  # the pause says when it is not the first process, and why it ends
    warn_not_adopting = True  # warn when neither PID 1 nor a subreaper
    isolation = "group"  # what the main child gets: "group" (with the terminal, if pyinit holds it), "session" (with
    # the terminal that pyinit gives up), "" nothing
    keep_signal_state = True  # the main child starts with the mask and ignored signals that pyinit was started with
    update_listen_pid = False  # LISTEN_PID, when it names pyinit, names the main child, sd_listen_fds(3)
    exit_codes = (127, 126, 1)  # for a command not found, one not executable, and any other failure to run it
    change_directory = False  # pyinit goes to / once the main child runs: it keeps no mount busy
    close_descriptors = False  # pyinit closes all but stdio once the main child runs: it keeps no file open
    suspend = False  # pyinit stops itself, SIGSTOP, after forwarding SIGTSTP, SIGTTIN or SIGTTOU
    end_signal = 0  # forwarded, as if received, when the main child has ended; 0 is none

    def __init__(self, **given: object) -> None:
        for name, value in given.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: object) -> None:
        if not hasattr(Options, name):
            raise AttributeError(f"no option is called {name}")
        object.__setattr__(self, name, value)

    def asks_for_more(self) -> bool:
        """Whether anything is asked for that pyinit loads more modules for: see supervisor/selection.py."""
        return bool(self.warn_on_reap or self.reap == "kernel" or self.stats or self.stats_signal or self.wait_all
                    or self.grace >= 0 or self.kill_after >= 0)


class UsageError(Exception):
    """A command line or an environment that cannot be obeyed; the text, which is shown as it is, says why."""
