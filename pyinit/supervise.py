"""The supervisor: start the main child, then wait for a signal, reap or forward, until the main child ends."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, sigwait

from .log import Log
from .options import Options
from .reaper import LOST, drain, exit_code
from .signals import WAITED, EntryState, ignore_terminal_stops
from .spawn import holds_terminal, restore_environment, spawn


def supervise(options: Options, entry: EntryState, log: Log) -> int:
    """Run options.command as the main child; return the exit code that pyinit is to have."""
    set_process_attributes(options, log)
    restore_environment(log)
    terminal = holds_terminal()
    try:
        main_child = spawn(options.command, entry, log, terminal)
    except OSError as error:
        log.fatal(f"cannot start '{options.command[0]}': fork: {error.strerror}")
        return 1

    # From here on pyinit must not die before its main child does: as PID 1 it would take the whole container along.
    ignore_terminal_stops()
    report = reporter(options, log)
    target = -main_child if options.group else main_child
    status = None
    number = SIGCHLD  # sweep once unasked: children may have ended before the first wait
    while status is None:
        try:
            if number == SIGCHLD:
                status = drain(main_child, report)
            else:
                forward(number, target, log)
            if status is None:
                # No timeout: an idle pyinit is never woken. sigwait(3), not sigwaitinfo(2): its answer is a small
                # integer, which needs no memory, so that no signal is taken and then lost to a MemoryError.
                number = sigwait(WAITED)
        except BaseException as error:
            number = SIGCHLD
            log.warn(f"unexpected {error!r}: going on")

    if status == LOST:
        log.warn(f"the status of the main child (PID {main_child}) was lost")
    code = exit_code(status)
    log.inform(f"main child (PID {main_child}) ended with exit code {code}")
    if terminal:
        take_terminal_back()
    return 0 if code in options.remap_exit else code


def set_process_attributes(options: Options, log: Log) -> None:
    """Become subreaper and set the parent-death signal, if asked for; warn when orphans will not be adopted."""
    if options.parent_death_signal:
        parent = posix.getppid()
        from .prctl import set_parent_death_signal

        if not set_parent_death_signal(options.parent_death_signal):
            log.warn("cannot set the parent-death signal: prctl(2) was refused")
        elif posix.getppid() != parent:
            posix.kill(posix.getpid(), options.parent_death_signal)  # it died before it was watched
    if options.subreaper:
        from .prctl import set_subreaper

        if set_subreaper():
            return
        log.warn("cannot become a subreaper: prctl(2) was refused")
    if posix.getpid() != 1 and log.verbosity:
        from .prctl import is_subreaper

        if not is_subreaper():
            log.warn("not PID 1 and not a subreaper: orphans are not adopted, so zombie reaping won't work "
                     "(run it as PID 1, or with -s)")


def reporter(options: Options, log: Log):
    """What the reaper calls for each orphan, or None: then the hot loop calls nothing."""
    if not options.warn_on_reap and log.verbosity < 3:
        return None

    def report(pid: int, status: int) -> None:
        if options.warn_on_reap:
            log.warn(f"reaped zombie process with PID {pid}")
        else:
            log.debug(f"reaped PID {pid}, exit code {exit_code(status)}")

    return report


def forward(number: int, target: int, log: Log) -> None:
    """Send the signal to the main child, or, with a negative target, to its process group."""
    try:
        posix.kill(target, number)
    except ProcessLookupError:
        pass  # ESRCH: it has ended just now; its SIGCHLD is next
    except OSError as error:  # EPERM: it runs as another user now, kill(2)
        log.warn(f"cannot forward {name_of(number)} to {target}: {error.strerror}")
    else:
        if log.verbosity >= 3:
            log.debug(f"forwarded {name_of(number)} to {target}")


def name_of(number: int) -> str:
    """A signal's name, for a message."""
    from .signal_names import signal_name

    return signal_name(number)


def take_terminal_back() -> None:
    """Make pyinit's group the foreground again: else whoever started it would read from the background and stop."""
    try:
        posix.tcsetpgrp(0, posix.getpgrp())
    except OSError:
        pass  # the terminal was hung up, or the group is of an outer PID namespace and has no number here
