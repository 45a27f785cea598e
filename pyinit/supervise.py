"""The supervisor: start the main child, then wait for a signal, reap or forward, until the main child ends."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU, sigwait

from .log import DEBUG, FATAL, INFORMATION, WARNING, Log
from .options import Options
from .reaper import LOST, drain, exit_code
from .signals import WAITED, EntryState, ignore_terminal_stops
from .spawn import holds_terminal, restore_environment, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional


def supervise(options: Options, entry: EntryState, log: Log) -> int:
    """Run options.command as the main child; return the exit code that pyinit is to have."""
    set_process_attributes(options, log)
    restore_environment(log)
    report = reporter(options, log)
    terminal = options.isolation == "group" and holds_terminal()
    own_signals: set[int] = set()  # what pyinit itself has caused, to be taken once and not forwarded
    if options.isolation == "session":
        from .session import detach_terminal

        own_signals = detach_terminal(log)
    # Children inherited through execve(2) may have ended before SIGCHLD was blocked; whatever ends later raises one.
    drain(0, report)
    try:
        main_child = spawn(options, entry, log, terminal)
    except OSError as error:
        log.tell(FATAL, "not_forked", options.command[0], error.strerror)
        return 1

    # From here on pyinit must not die before its main child does: as PID 1 it would take the whole container along.
    target = -main_child if options.group else main_child
    guard(log, settle_down, options, log, main_child)
    status = None
    number = 0
    while status is None:
        try:
            if number == SIGCHLD:
                status = drain(main_child, report)
            elif number in own_signals:
                own_signals.remove(number)
                log.tell(DEBUG, "hand_off_ignored", number)
            elif number:
                forward(number, target, options, log, main_child)
            if status is None:
                # No timeout: an idle pyinit is never woken. sigwait(3), not sigwaitinfo(2): its answer is a small
                # integer, which needs no memory, so that no signal is taken and then lost to a MemoryError.
                number = sigwait(WAITED)
                log.tell(DEBUG, "received", number)
        except BaseException as error:
            number = SIGCHLD
            log.tell(WARNING, "unexpected", error)

    code = exit_code(status)
    guard(log, finish, options, log, main_child, status, terminal)
    return 0 if code in options.remap_exit else code


def guard(log: Log, act: Callable, *arguments) -> None:
    """Do what must not end pyinit if it fails."""
    try:
        act(*arguments)
    except BaseException as error:
        log.tell(WARNING, "unexpected", error)


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


def forward(number: int, target: int, options: Options, log: Log, main_child: int = 0) -> None:
    """Send a signal, or what it is rewritten to, to the target of kill(2): a PID, or minus a process group.

    As long as the main child has not made its group, there is none: then it alone is sent the signal.
    """
    new = options.rewrite.get(number, number)
    if new != number:
        log.tell(DEBUG, "rewritten", number, new)
    for target in (target, main_child) if new else ():
        try:
            if target:
                posix.kill(target, new)
            break
        except ProcessLookupError:
            pass  # ESRCH: no such group yet; or it has ended just now, and its SIGCHLD is next
        except OSError as error:  # EPERM: it runs as another user now, kill(2)
            log.tell(WARNING, "not_forwarded", new, error.strerror)
            break
    log.tell(DEBUG, "forwarded", new)
    if options.suspend and number in (SIGTSTP, SIGTTIN, SIGTTOU):
        log.tell(DEBUG, "suspending")
        posix.kill(posix.getpid(), SIGSTOP)


def finish(options: Options, log: Log, main_child: int, status: int, terminal: bool) -> None:
    """What is left to do when the main child has ended."""
    if status == LOST:
        log.tell(WARNING, "status_lost", main_child)
    if options.end_signal:
        # Only to a group: the PID of the main child is free by now, and may be another's.
        forward(options.end_signal, -main_child if options.group else 0, options, log)
    log.tell(INFORMATION, "ended", main_child, status, exit_code(status))
    if terminal:
        take_terminal_back()


def take_terminal_back() -> None:
    """Make pyinit's group the foreground again: else whoever started it would read from the background and stop."""
    try:
        posix.tcsetpgrp(0, posix.getpgrp())
    except OSError:
        pass  # the terminal was hung up, or the group is of an outer PID namespace and has no number here
