"""The supervisor: start the main child, then wait for a signal, reap or forward, until the main child ends."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, SIGCONT, SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU

from .log import DEBUG, FATAL, INFORMATION, WARNING, Log
from .options import Options
from .reaper import LOST, WaitReaper, exit_code
from .signals import EntryState, ignore_terminal_stops
from .spawn import restore_environment, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional


def supervise(options: Options, entry: EntryState, log: Log) -> int:
    """Run options.command as the main child; return the exit code that pyinit is to have."""
    # PID 1 of its namespace reaps its orphans in any case, pid_namespaces(7).
    wants_orphans = options.subreaper or options.warn_not_adopting and log.verbosity
    if options.parent_death_signal or wants_orphans and posix.getpid() != 1:
        from .attributes import set_process_attributes

        set_process_attributes(options, log)
    restore_environment(log)
    reaper, stats, end = WaitReaper(), None, None
    if options.asks_for_more() or log.verbosity >= DEBUG:
        from .plan import plan

        reaper, stats, end = plan(options, log)
    if options.signal_to == "all":
        __import__("pyinit.processes")  # now: nothing that the loop needs should be able to fail then
    terminal = False
    if options.isolation == "group" and posix.isatty(0):
        from .terminal import holds_terminal

        terminal = holds_terminal()
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
    given: set[int] = set()  # what the main child has got of them
    verbose = log.verbosity >= DEBUG
    status = None
    number = guard(log, reaper.watch, main_child)
    guard(log, settle_down, options, log, main_child, reaper)
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
                number = 0
                stats.write(main_child, status, sent)
            elif number:
                if number == SIGCONT and status is None and options.isolation == "group" and posix.isatty(0):
                    terminal |= guard(log, hand_terminal_over, main_child)
                new = forward(number, options, log, sent, reaper if status is None else None)
                if not new:
                    number = 0  # it was dropped: no termination signal, whatever it was
                elif status is None:
                    given.add(new)
            if end is None:
                if status is not None:
                    break
                number = reaper.wait()
            else:
                if end.advance(number, status, reaper):
                    break
                number = reaper.wait(end.timeout())
            if verbose:
                log.tell(DEBUG, "received", number)
        except BaseException as error:
            number = SIGCHLD
            log.tell(WARNING, "unexpected", error)
            guard(log, rest)  # if it lasts, pyinit must not eat the processor

    code = exit_code(status)
    if terminal or options.end_signal or log.verbosity >= INFORMATION or status == LOST:
        guard(log, finish, options, log, main_child, status, terminal)
    if stats and options.stats:
        guard(log, stats.write, main_child, status, sent)
    if options.ok_on_stop and status & 0x7f in given:  # the signal that killed it, wait(2); 0 is never sent
        return 0
    return 0 if code in options.remap_exit else code


def guard(log: Log, act: Callable, *arguments):
    """Do what must not end pyinit if it fails; return what it returns, 0 if it failed."""
    try:
        return act(*arguments)
    except BaseException as error:
        log.tell(WARNING, "unexpected", error)
        return 0


def rest() -> None:
    """Let a moment pass."""
    from time import sleep

    sleep(0.05)


def settle_down(options: Options, log: Log, main_child: int, reaper: WaitReaper) -> None:
    """What pyinit does for itself once the main child runs, and could not do before without its inheriting it."""
    ignore_terminal_stops()
    log.tell(INFORMATION, "spawned", options.command[0], main_child)
    if options.change_directory:
        posix.chdir("/")
    if options.close_descriptors:
        from .descriptors import close_all

        close_all(reaper.descriptors())


def hand_terminal_over(main_child: int) -> bool:
    """After a shell's `fg`: give the terminal to the main child; return whether pyinit had it."""
    from .terminal import hand_over

    return hand_over(main_child)


def finish(options: Options, log: Log, main_child: int, status: int, terminal: bool) -> None:
    """What is left to do when the main child has ended."""
    from .finish import finish

    finish(options, log, main_child, status, terminal)


def forward(number: int, options: Options, log: Log, sent: dict[int, int], reaper: Optional[WaitReaper]) -> int:
    """Send a signal, or what it is rewritten to, to those who get it; count it in `sent`, and return it; 0 for none.

    The reaper knows the main child; None when that has ended: then all that is left gets the signal.
    """
    new = options.rewrite.get(number, number)
    if new != number:
        log.tell(DEBUG, "rewritten", number, new)
    done = 0
    if new:
        try:
            send(new, options.signal_to, reaper)
            done = new
            sent[new] = sent.get(new, 0) + 1
        except ProcessLookupError:
            pass  # ESRCH: it has ended just now; its SIGCHLD is next
        except OSError as error:  # EPERM: it runs as another user now, kill(2)
            log.tell(WARNING, "not_forwarded", new, error.strerror)
    log.tell(DEBUG, "forwarded", new)
    if options.suspend and number in (SIGTSTP, SIGTTIN, SIGTTOU):
        log.tell(DEBUG, "suspending")
        posix.kill(posix.getpid(), SIGSTOP)
    return done


def send(number: int, signal_to: str, reaper: Optional[WaitReaper]) -> None:
    """Send a signal to the main child, its process group or all. Raises OSError."""
    if reaper is None or signal_to == "all":
        from .processes import send_to_all

        send_to_all(number)
    elif signal_to == "group":
        try:
            reaper.send(number, to_group=True)
        except ProcessLookupError:
            reaper.send(number)  # it has not made its group yet
    else:
        reaper.send(number)
