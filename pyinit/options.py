"""The one record between what a person asked for and what the supervisor does."""

from __future__ import annotations

from _signal import SIGINT, SIGQUIT, SIGTERM

TYPE_CHECKING = False  # typing's own flag costs 5 ms of imports; checkers take this name as well
if TYPE_CHECKING:
    from typing import Any


class Options:
    """Everything a command line or an environment can ask for; nothing behind it reads argv or environ again.

    command              the main child's argv, decoded as UTF-8 with surrogateescape: any bytes survive
    show                 "help", "license" or "version": print that text and exit 0; "" is to run
    verbosity            0 fatal, 1 warnings, 2 information, 3 debug
    pause                no main child: reap until SIGINT or SIGTERM
    announce             the pause says when it is not the first process, and why it ends
    subreaper            adopt orphans without being PID 1, prctl(2) PR_SET_CHILD_SUBREAPER
    parent_death_signal  sent to pyinit when its parent exits, prctl(2) PR_SET_PDEATHSIG; 0 is none
    warn_not_adopting    warn when neither PID 1 nor a subreaper
    isolation            what the main child gets of its own: "group" (with the terminal, if pyinit holds it),
                         "session" (with the terminal that pyinit gives up), "" nothing
    keep_signal_state    the main child starts with the mask and ignored signals that pyinit was started with
    update_listen_pid    LISTEN_PID, when it names pyinit, names the main child, sd_listen_fds(3)
    exit_codes           for a command not found, one not executable, and anything else that keeps it from running
    change_directory     pyinit goes to / once the main child runs: it keeps no mount busy
    close_descriptors    pyinit closes all but stdio once the main child runs: it keeps no file open
    signal_to            who is sent a signal: "main" the main child, "group" its process group, "all" every descendant
    rewrite              what is forwarded in place of a signal; 0 drops it
    suspend              pyinit stops itself, SIGSTOP, after forwarding SIGTSTP, SIGTTIN or SIGTTOU
    reap                 "wait", or "kernel" by ignoring SIGCHLD; "" is "wait"
    grace                when the main child has ended, seconds that what is left has between SIGTERM and SIGKILL; -1 is
                         not to wait at all
    wait_all             when the main child has ended, wait for all that is left
    kill_after           seconds between a termination signal and SIGKILL for the main child; -1 is never
    stop_signals         the termination signals
    ok_on_stop           a main child that died by a signal that pyinit forwarded counts as exit code 0
    stats                where the statistics go at the end: "" nowhere, "-" stderr, else a file
    stats_signal         write them when this signal comes, and do not forward it; 0 is none
    end_signal           forwarded, as if received, when the main child has ended; 0 is none
    warn_on_reap         one warning for each orphan reaped
    remap_exit           exit codes that are reported as 0
    """

    __slots__ = ("command", "show", "verbosity", "pause", "announce", "subreaper", "parent_death_signal",
                 "warn_not_adopting", "isolation", "keep_signal_state", "update_listen_pid", "exit_codes",
                 "change_directory", "close_descriptors", "signal_to", "rewrite", "suspend", "reap", "grace",
                 "wait_all", "kill_after", "stop_signals", "ok_on_stop", "stats", "stats_signal", "end_signal",
                 "warn_on_reap", "remap_exit")

    def __init__(self, **given: Any) -> None:
        self.command: list[str] = []
        self.show = ""
        self.verbosity = 1
        self.pause = False
        self.announce = True
        self.subreaper = False
        self.parent_death_signal = 0
        self.warn_not_adopting = True
        self.isolation = "group"
        self.keep_signal_state = True
        self.update_listen_pid = False
        self.exit_codes = (127, 126, 1)
        self.change_directory = False
        self.close_descriptors = False
        self.signal_to = "main"
        self.rewrite: dict[int, int] = {}
        self.suspend = False
        self.reap = ""
        self.grace = -1.0
        self.wait_all = False
        self.kill_after = -1.0
        self.stop_signals = (SIGTERM, SIGINT, SIGQUIT)
        self.ok_on_stop = False
        self.stats = ""
        self.stats_signal = 0
        self.end_signal = 0
        self.warn_on_reap = False
        self.remap_exit: set[int] = set()
        for field, value in given.items():
            setattr(self, field, value)

    def asks_for_more(self) -> bool:
        """Whether anything is asked for that pyinit loads more modules for: see plan.py."""
        return bool(self.warn_on_reap or self.reap == "kernel" or self.stats or self.stats_signal or self.wait_all
                    or self.grace >= 0 or self.kill_after >= 0)


class UsageError(Exception):
    """A command line or an environment that cannot be obeyed; the text, which is shown as it is, says why."""
