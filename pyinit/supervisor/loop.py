"""The supervisor: start the main child, then wait for a signal, reap or forward, until the main child ends."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, SIGCONT, SIGHUP, SIGSTOP, SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU, sigpending

from ..log import DEBUG, FATAL, INFORMATION, WARNING, Log
from ..options import Options
from .reaper import LOST, WaitReaper, exit_code, rest
from ..linux.signals import EntryState
from ..child.spawn import restore_environment, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from .orderly_end import OrderlyEnd
    from .stats import Stats

# How many zombies are reaped at most before leaving: a storm of orphans that outruns pyinit must not keep it running.
LAST_BATCH = 1 << 16

# Bytes that are given back when memory runs out, so that the loop can go on with them: each call of a function needs a
# frame. Without them a pyinit that can get no memory (setrlimit(2), RLIMIT_AS) would try for ever. They are from
# calloc(3), and use no page until then.
RESERVE = 1 << 14


class Supervisor:
    """Runs the main child to its end.

    Its stages: prepare(), spawn(), settle_down(), then wait and handle() until is_over(), then leave().
    """

    __slots__ = ("options", "entry", "log", "reaper", "stats", "end", "has_terminal", "job_control", "stopped",
                 "own_signals", "main_child", "status", "sent", "given", "trouble", "reserve")

    def __init__(self, options: Options, entry: EntryState, log: Log) -> None:
        self.options = options
        self.entry = entry
        self.log = log
        self.reaper = WaitReaper()
        self.stats: Optional[Stats] = None  # writes the statistics
        self.end: Optional[OrderlyEnd] = None  # None: leave when the main child has ended
        self.has_terminal = False  # whether the main child got the terminal from pyinit, which takes it back
        self.job_control = False  # whether pyinit stops with the main child
        self.stopped = False  # whether the main child is stopped, as far as pyinit knows
        self.own_signals: set[int] = set()  # signals that pyinit itself has caused: taken once and not forwarded
        self.main_child = 0
        self.status: Optional[int] = None  # the main child's wait status; None while it runs
        self.sent: dict[int, int] = {}  # how often each signal was forwarded
        self.given: set[int] = set()  # which of them the main child was sent
        self.trouble = ""  # the last unexpected error
        self.reserve = bytes(RESERVE)  # memory for bad times

    def run(self) -> int:
        """Run the main child to its end; return pyinit's exit code."""
        self.prepare()
        try:
            self.main_child = spawn(self.options, self.entry, self.log, self.has_terminal)
        except OSError as error:
            self.log.tell(FATAL, "not_forked", self.options.command[0], error.strerror)
            return 1
        # From here on pyinit must not die before its main child does: the whole container would die with its PID 1.
        number = guard(self.log, self.reaper.watch, self.main_child)
        guard(self.log, self.settle_down)
        while True:
            try:
                number = self.handle(number)
                if self.is_over(number):
                    break
                number = self.reaper.wait(self.end.timeout() if self.end else -1.0)
            except BaseException as error:
                self.reserve = b""
                number = SIGCHLD
                try:
                    self.recover(error)
                except BaseException:
                    pass  # a MemoryError, which may pass: pyinit goes on without the message
        return self.leave()

    # Before the main child

    def prepare(self) -> None:
        """Set up what the options ask for, and load what may be needed later: an upgrade may remove the files."""
        options, log = self.options, self.log
        # PID 1 of a PID namespace adopts its orphans in any case, pid_namespaces(7).
        wants_orphans = options.subreaper or options.warn_not_adopting and log.verbosity
        if options.parent_death_signal or wants_orphans and posix.getpid() != 1:
            from .adoption import set_process_attributes

            set_process_attributes(options, log)
        restore_environment(self.entry.note, log)
        interactive = options.isolation == "group" and posix.isatty(0)
        if interactive:
            from ..child.terminal import holds_terminal

            self.has_terminal = holds_terminal()
        # PID 1 takes no part in job control: nothing can stop it.
        self.job_control = posix.getpid() != 1 and (interactive or options.isolation == "group"
                                                    and has_controlling_terminal())
        if options.asks_for_more() or log.verbosity >= DEBUG:
            from .selection import plan

            self.reaper, self.stats, self.end = plan(options, log, self.job_control)
        if self.job_control:
            from ..child import terminal  # noqa: F401

            self.reaper.report_stops()
        if options.signal_to == "all":
            from ..child import descendants  # noqa: F401
        if options.close_descriptors:
            from ..linux import descriptors  # noqa: F401
        if options.isolation == "session":
            from ..child.session import detach_terminal

            self.own_signals = detach_terminal()
        # Children inherited through execve(2) may have ended before SIGCHLD was blocked. Each later end raises SIGCHLD.
        self.reaper.drain()

    # Once the main child runs

    def settle_down(self) -> None:
        """Do for pyinit itself what the main child must not inherit."""
        self.log.tell(INFORMATION, "spawned", self.options.command[0], self.main_child)
        if self.options.change_directory:
            posix.chdir("/")
        if self.options.close_descriptors:
            from .. import bundle_file
            from ..linux.descriptors import close_all

            close_all(self.reaper.descriptors() | {bundle_file})

    def handle(self, number: int) -> int:
        """Reap, or forward the signal; return the signal that counts for the end, 0 for none."""
        if number == SIGCHLD:
            self.reap()
        elif number in self.own_signals:
            self.own_signals.remove(number)
        elif self.stats and number and number == self.options.stats_signal:
            self.stats.write(self.main_child, self.status, self.sent)
            return 0
        elif number:
            if number == SIGCONT and self.status is None and self.options.isolation == "group":
                if (self.job_control or posix.isatty(0)) and self.resume():
                    return number
            if not self.forward(number):
                return 0  # it was dropped, which makes it no termination signal, or it will be taken again
        return number

    def reap(self) -> None:
        """Reap, and learn whether the main child has ended or stopped."""
        status = self.reaper.drain()
        if status is not None:
            self.status = status
            if self.end and self.has_terminal:  # its keys must reach pyinit while it waits for the others
                from ..child.terminal import take_back

                guard(self.log, take_back, self.main_child)
        number, self.reaper.stopped_by = self.reaper.stopped_by, 0
        if number and self.job_control and self.status is None:
            from ..child.terminal import follow_stop

            self.stopped = True
            if follow_stop(number):
                self.resume()

    def resume(self) -> bool:
        """Give the main child the terminal if a shell's `fg` has given it to pyinit, and continue it if it is stopped;
        return whether it was stopped.

        Its whole process group is continued, because the terminal has stopped all of it.
        """
        from ..child.terminal import hand_over

        self.has_terminal |= bool(guard(self.log, hand_over, self.main_child))
        if not self.stopped:
            return False
        self.continue_main_child()
        return True

    def continue_main_child(self) -> None:
        """Continue the process group that pyinit made, and the main child also if it has moved to another group."""
        self.stopped = False
        if posix.getpgid(self.main_child) != self.main_child:
            self.reaper.send(SIGCONT)
        try:
            self.reaper.send(SIGCONT, to_group=True)
        except ProcessLookupError:
            pass  # ESRCH: the group that pyinit made for it is empty

    def is_over(self, number: int) -> bool:
        """Send what the stage of the end asks for; return whether it is time to leave."""
        if self.end:
            return self.end.advance(number, self.status, self.reaper)
        return self.status is not None

    def recover(self, error: BaseException) -> None:
        """Rest, as the error may last, and pyinit must not use a whole CPU; log it once. Raises what either raises."""
        rest()
        if repr(error) != self.trouble:
            self.trouble = repr(error)
            self.log.tell(WARNING, "unexpected", error)

    def leave(self) -> int:
        """Reap the rest, take the terminal back, write the statistics; return the exit code."""
        options, status = self.options, LOST if self.status is None else self.status
        code = exit_code(status)
        if self.reaper.unfinished:
            self.reaper.budget = LAST_BATCH
            guard(self.log, self.reaper.drain)
        if status == LOST:
            self.log.tell(WARNING, "status_lost", self.main_child)
        if options.end_signal:
            guard(self.log, self.end_group)
        self.log.tell(INFORMATION, "ended", self.main_child, code)
        if self.has_terminal:
            from ..child.terminal import take_back

            guard(self.log, take_back, self.main_child)
        if self.stats and options.stats:
            guard(self.log, self.stats.write, self.main_child, status, self.sent)
        if options.ok_on_stop and status & 0x7f in self.given:  # the signal that killed it, wait(2); 0 is never sent
            return 0
        return 0 if code in options.remap_exit else code

    def end_group(self) -> None:
        """Send the last signal to the rest of the main child's group; the main child's own PID is free by now."""
        number = self.options.rewrite.get(self.options.end_signal, self.options.end_signal)
        self.log.tell(DEBUG, "forwarded", self.options.end_signal, number)
        if number and self.options.signal_to == "group":
            try:
                posix.kill(-self.main_child, number)
            except OSError:
                pass  # ESRCH: the group is empty

    # Signals

    def forward(self, number: int) -> int:
        """Send a signal, or the one that it is rewritten to, and count it; return that signal, even if not sent.

        Return 0 if it was dropped, or if it is pending again, for the processes that the main child has left behind.
        """
        new = self.options.rewrite.get(number, number)
        if new:
            try:
                self.send(new)
                self.sent[new] = self.sent.get(new, 0) + 1
            except ProcessLookupError:  # ESRCH: the kernel has released the main child, --reap kernel
                self.reap()
                if self.end and self.status is not None:
                    posix.kill(posix.getpid(), number)
                    return 0
            except OSError as error:  # EPERM: it runs as another user now, kill(2)
                self.log.tell(WARNING, "not_forwarded", new, error.strerror)
        self.log.tell(DEBUG, "forwarded", number, new)
        # SIGSTOP discards a pending SIGCONT, signal(7), also of PID 1, which it does not stop.
        if self.options.suspend and number in (SIGTSTP, SIGTTIN, SIGTTOU) and posix.getpid() != 1:
            if SIGCONT not in sigpending():
                posix.kill(posix.getpid(), SIGSTOP)
        return new

    def send(self, number: int) -> None:
        """Send a signal to the main child, its process group or all descendants. Raises OSError."""
        if self.status is not None or self.options.signal_to == "all":
            from ..child.descendants import send_to_all

            if not send_to_all(number) and self.status is None:
                self.reaper.send(number)  # no /proc, that of another PID namespace, or no descriptor to read it
        elif self.options.signal_to == "group":
            try:
                self.reaper.send(number, to_group=True)
            except ProcessLookupError:
                self.reaper.send(number)  # it has not made its group yet
        else:
            self.reaper.send(number)
        if self.status is None:
            self.given.add(number)
            if number in (SIGHUP, SIGTERM) and (self.stopped or self.reaper.has_stopped()):
                self.continue_main_child()  # a stopped process takes no other signal, signal(7)


def has_controlling_terminal() -> bool:
    """Return whether pyinit's session has a terminal: its keys stop pyinit's group even if stdin is something else."""
    try:
        posix.close(posix.open("/dev/tty", posix.O_RDONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC))
    except OSError:  # ENXIO: it has none
        return False
    return True


def guard(log: Log, act: Callable[..., object], *arguments: object) -> int:
    """Call `act`; log an exception, which must not end pyinit. Return the number that it returns, else 0."""
    try:
        result = act(*arguments)
        return result if isinstance(result, int) else 0
    except BaseException as error:
        try:
            log.tell(WARNING, "unexpected", error)
        except BaseException:
            pass  # a MemoryError: pyinit goes on without the message
        return 0
