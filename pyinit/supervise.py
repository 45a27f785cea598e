"""The supervisor: start the main child, then wait for a signal, reap or forward, until the main child ends."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU

from .log import DEBUG, FATAL, INFORMATION, WARNING, Log
from .options import Options
from .reaper import LOST, WaitReaper, exit_code
from .signals import EntryState, ignore_terminal_stops
from .spawn import holds_terminal, restore_environment, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional


def supervise(options: Options, entry: EntryState, log: Log) -> int:
    """Run options.command as the main child; return the exit code that pyinit is to have."""
    set_process_attributes(options, log)
    restore_environment(log)
    reaper = choose_reaper(options, log)
    stats = open_stats(options, reaper)
    end = plan_end(options, log)
    terminal = options.isolation == "group" and holds_terminal()
    own_signals: set[int] = set()  # what pyinit itself has caused, to be taken once and not forwarded
    if options.isolation == "session":
        from .session import detach_terminal

        own_signals = detach_terminal(log)
    # Children inherited through execve(2) may have ended before SIGCHLD was blocked; whatever ends later raises one.
    reaper.drain()
    try:
        main_child = spawn(options, entry, log, terminal)
    except OSError as error:
        log.tell(FATAL, "not_forked", options.command[0], error.strerror)
        return 1

    # From here on pyinit must not die before its main child does: as PID 1 it would take the whole container along.
    sent: dict[int, int] = {}  # how often each signal was sent on
    status = None
    number = guard(log, reaper.watch, main_child)
    guard(log, settle_down, options, log, main_child)
    while True:
        try:
            if number == SIGCHLD:
                drained = reaper.drain()
                if drained is not None:
                    status = drained
            elif number in own_signals:
                own_signals.remove(number)
                log.tell(DEBUG, "hand_off_ignored", number)
            elif stats and number and number == options.stats_signal:
                stats.write(main_child, status, sent)
            elif number:
                if number == SIGCONT and status is None and options.isolation == "group":
                    terminal |= hand_terminal_over(main_child)
                forward(number, main_child if status is None else 0, options, log, sent)
            if end is None:
                if status is not None:
                    break
                number = reaper.wait()
            else:
                if end.advance(number, status, main_child, reaper.childless):
                    break
                number = reaper.wait(end.timeout())
            log.tell(DEBUG, "received", number)
        except BaseException as error:
            number = SIGCHLD
            log.tell(WARNING, "unexpected", error)

    code = exit_code(status)
    guard(log, finish, options, log, main_child, status, terminal)
    if stats and options.stats:
        guard(log, stats.write, main_child, status, sent)
    if options.ok_on_stop and status & 0x7f in sent:  # the signal that killed it, wait(2); 0 is never sent
        return 0
    return 0 if code in options.remap_exit else code


def guard(log: Log, act: Callable, *arguments):
    """Do what must not end pyinit if it fails; return what it returns, 0 if it failed."""
    try:
        return act(*arguments)
    except BaseException as error:
        log.tell(WARNING, "unexpected", error)
        return 0


def choose_reaper(options: Options, log: Log):
    """The kernel where it was asked for and can; else the waitpid loop, which counts for the statistics."""
    report = reporter(options, log)
    if options.reap == "kernel":
        if options.warn_on_reap:
            log.tell(WARNING, "no_kernel_reaping", "a warning for each orphan needs the waitpid loop")
        else:
            try:
                from .kernel_reaper import KernelReaper

                return KernelReaper(log)
            except (ImportError, AttributeError, OSError) as error:
                log.tell(WARNING, "no_kernel_reaping", getattr(error, "strerror", None) or str(error))
    if options.stats or options.stats_signal:
        from .stats import CountingReaper

        return CountingReaper(report)
    return WaitReaper(report)


def open_stats(options: Options, reaper):
    """What writes the statistics, None when nobody wants them."""
    if not (options.stats or options.stats_signal):
        return None
    from .stats import Stats

    return Stats(options.stats, reaper)


def plan_end(options: Options, log: Log):
    """What brings the orderly end, None to leave when the main child has ended."""
    if options.grace < 0 and not options.wait_all and options.kill_after < 0:
        return None
    from .orderly_end import OrderlyEnd

    return OrderlyEnd(options, log)


def set_process_attributes(options: Options, log: Log) -> None:
    """Become subreaper and set the parent-death signal, if asked for; warn when orphans will not be adopted."""
    if options.parent_death_signal:
        set_parent_death_signal(options.parent_death_signal, log)
    # PID 1 of its namespace is its reaper in any case, pid_namespaces(7).
    if posix.getpid() == 1 or not (options.subreaper or options.warn_not_adopting and log.verbosity):
        return
    try:
        from . import prctl

        if options.subreaper and prctl.set_subreaper():
            return
        adopting = prctl.is_subreaper()
    except ImportError:  # no _ctypes, as with Debian's python3-minimal
        adopting = False
    if options.subreaper:
        log.tell(WARNING, "no_subreaper")
    if not adopting and options.warn_not_adopting:
        log.tell(WARNING, "not_adopting")


def set_parent_death_signal(number: int, log: Log) -> None:
    """Have the kernel send the signal when pyinit's parent exits."""
    parent = posix.getppid()
    try:
        from .prctl import set_parent_death_signal as set_signal

        done = set_signal(number)
    except ImportError:
        done = False
    if not done:
        log.tell(WARNING, "no_parent_death_signal")
    elif posix.getppid() != parent:
        posix.kill(posix.getpid(), number)  # the parent died before it was watched


def reporter(options: Options, log: Log) -> Optional[Callable[[int, int, bool], None]]:
    """What the reaper calls for each child, or None: then the hot loop calls nothing."""
    if not options.warn_on_reap and log.verbosity < DEBUG:
        return None

    def report(pid: int, status: int, is_main: bool) -> None:
        log.tell(DEBUG, "reaped", pid, status, exit_code(status), is_main)
        if options.warn_on_reap and not is_main:
            log.tell(WARNING, "orphan_reaped", pid)

    return report


def settle_down(options: Options, log: Log, main_child: int) -> None:
    """What pyinit does for itself once the main child runs, and could not do before without its inheriting it."""
    ignore_terminal_stops()
    log.tell(INFORMATION, "spawned", options.command[0], main_child)
    if options.change_directory:
        posix.chdir("/")
    if options.close_descriptors:
        for name in posix.listdir("/proc/self/fd"):
            if int(name) > 2:
                try:
                    posix.close(int(name))
                except OSError:
                    pass  # the one that the folder itself was read by


def forward(number: int, main_child: int, options: Options, log: Log, sent: dict[int, int]) -> None:
    """Send a signal, or what it is rewritten to, to those who get it; count it in `sent`.

    When the main child has ended, main_child is 0: its PID may be another's. Then all that is left gets it.
    """
    new = options.rewrite.get(number, number)
    if new != number:
        log.tell(DEBUG, "rewritten", number, new)
    if new:
        sent[new] = sent.get(new, 0) + 1
        try:
            send(new, main_child, options.signal_to)
        except ProcessLookupError:
            pass  # ESRCH: it has ended just now; its SIGCHLD is next
        except OSError as error:  # EPERM: it runs as another user now, kill(2)
            log.tell(WARNING, "not_forwarded", new, error.strerror)
    log.tell(DEBUG, "forwarded", new)
    if options.suspend and number in (SIGTSTP, SIGTTIN, SIGTTOU):
        log.tell(DEBUG, "suspending")
        posix.kill(posix.getpid(), SIGSTOP)


def send(number: int, main_child: int, signal_to: str) -> None:
    """Send a signal to the main child, its process group or all. Raises OSError."""
    if main_child == 0 or signal_to == "all":
        from .processes import send_to_all

        send_to_all(number)
    elif signal_to == "group":
        try:
            posix.kill(-main_child, number)
        except ProcessLookupError:
            posix.kill(main_child, number)  # it has not made its group yet
    else:
        posix.kill(main_child, number)


def finish(options: Options, log: Log, main_child: int, status: int, terminal: bool) -> None:
    """What is left to do when the main child has ended."""
    if status == LOST:
        log.tell(WARNING, "status_lost", main_child)
    if options.end_signal:
        end_rest(options, log, main_child)
    log.tell(INFORMATION, "ended", main_child, status, exit_code(status))
    if terminal:
        take_terminal_back(main_child)


def end_rest(options: Options, log: Log, main_child: int) -> None:
    """Send the last signal to what is left of the main child's group."""
    number = options.rewrite.get(options.end_signal, options.end_signal)
    if number != options.end_signal:
        log.tell(DEBUG, "rewritten", options.end_signal, number)
    if number and options.signal_to == "group":  # without one there is nobody: the main child's PID is free by now
        try:
            posix.kill(-main_child, number)
        except OSError:
            pass  # nobody is left
    log.tell(DEBUG, "forwarded", number)


def hand_terminal_over(main_child: int) -> bool:
    """Give the main child's group the terminal if a shell's `fg` has given it to pyinit's; return whether it has."""
    if not holds_terminal():
        return False
    try:
        posix.tcsetpgrp(0, main_child)
    except OSError:
        return False  # it has no group any more
    return True


def take_terminal_back(main_child: int) -> None:
    """Make pyinit's group the foreground again: else whoever started it would read from the background and stop.

    But not from somebody else: a shell that pyinit was stopped under has it by now.
    """
    try:
        foreground = posix.tcgetpgrp(0)
        if foreground != main_child:
            posix.kill(-foreground, 0) if foreground else None
            return
    except ProcessLookupError:
        pass  # the group that had it is gone
    except OSError:
        return  # the terminal was hung up
    try:
        posix.tcsetpgrp(0, posix.getpgrp())
    except OSError:
        pass  # the terminal was hung up, or the group is of an outer PID namespace and has no number here
