"""The pause: no main child; reap adopted children until SIGINT or SIGTERM, as Kubernetes' pause v3.1 does."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, SIGINT, SIGTERM, signal

from ..linux.output import write_line
from ..log import DEBUG, FATAL, WARNING, Log
from ..options import Options
from .reaper import WaitReaper, rest
from ..linux.signals import SIG_IGN

DESCRIPTIONS = {SIGINT: "Interrupt", SIGTERM: "Terminated"}  # strsignal(3)
RETRIES = 20  # refusals by the kernel, 50 ms apart, until the pause gives up


def pause(options: Options, log: Log) -> int:
    """Reap until SIGINT or SIGTERM; return exit code 0, or 1 if the kernel refuses the wait for a signal.

    Other signals are taken and have no effect. With options.reap "kernel" the kernel reaps, without a wakeup: the pause
    needs no status, kernel_reaper.py.
    """
    if options.announce and posix.getpid() != 1:
        write_line("Warning: pause should be the first process")
    report, kernel = None, options.reap == "kernel"
    if options.warn_on_reap or log.verbosity >= DEBUG:
        from .selection import NEEDS_LOOP, lets_kernel_reap, reporter

        report, kernel = reporter(options, log), lets_kernel_reap(options, log, NEEDS_LOOP)
    if kernel:
        signal(SIGCHLD, SIG_IGN)
    # From here on only SIGINT and SIGTERM may end the pause: the pod's PID namespace ends with it.
    number = reap_until_stopped(WaitReaper(report), log)
    if options.announce and number:
        write_line(f"Shutting down, got signal: {DESCRIPTIONS[number]}")
    return 0 if number else 1


def reap_until_stopped(reaper: WaitReaper, log: Log) -> int:
    """Reap until SIGINT or SIGTERM, and return it; return 0 if the kernel keeps refusing the wait for a signal.

    A pause that cannot wait would use a whole CPU and be deaf to SIGTERM. One that cannot reap still holds the pod's
    namespaces, and goes on. A MemoryError is no refusal: it may pass.
    """
    refused = 0
    told: set[str] = set()
    number = SIGCHLD  # drain before the first wait: children may have ended already
    while number not in DESCRIPTIONS:
        drains = number == SIGCHLD
        try:
            if drains:
                reaper.drain()
                number = 0
            else:
                number = reaper.wait()  # for all signals: one left pending would count against RLIMIT_SIGPENDING
                refused = 0
        except BaseException as error:
            refusal = isinstance(error, OSError)
            number = 0 if drains and refusal else SIGCHLD
            refused += refusal and not drains
            if refused > RETRIES:
                log.tell(FATAL, "cannot_wait", error)
                return 0
            try:
                rest()
                if repr(error) not in told:
                    told.add(repr(error))
                    log.tell(WARNING, "unexpected", error)
            except BaseException:
                pass  # a MemoryError, which may pass: the pause goes on without the message
    return number
