"""The pause: no main child; reap what is adopted until SIGINT or SIGTERM, as Kubernetes' pause v3.1 does."""

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
    """Reap until SIGINT or SIGTERM; return exit code 0, or 1 when the kernel refuses to wait for a signal.

    Other signals are taken, and do nothing. With options.reap "kernel" the kernel does it, without a wakeup: nobody
    asks for a status here, kernel_reaper.py.
    """
    if options.announce and posix.getpid() != 1:
        write_line("Warning: pause should be the first process")
    report, kernel = None, options.reap == "kernel"
    if options.warn_on_reap or log.verbosity >= DEBUG:
        from .selection import NEEDS_LOOP, lets_kernel_reap, reporter

        report, kernel = reporter(options, log), lets_kernel_reap(options, log, NEEDS_LOOP)
    if kernel:
        signal(SIGCHLD, SIG_IGN)
    # From here on nothing but SIGINT and SIGTERM may end the pause: the pod's namespace goes with it.
    number = reap_until_stopped(WaitReaper(report), log)
    if options.announce and number:
        write_line(f"Shutting down, got signal: {DESCRIPTIONS[number]}")
    return 0 if number else 1


def reap_until_stopped(reaper: WaitReaper, log: Log) -> int:
    """Reap until SIGINT or SIGTERM, and return it; 0 when the kernel goes on refusing to wait for a signal.

    A pause that cannot wait would use a whole CPU, deaf to SIGTERM. Out of memory is no refusal: that may pass.
    """
    refused, trouble = 0, ""
    number = SIGCHLD  # drain once unasked: children may have ended before the first wait
    while number not in DESCRIPTIONS:
        try:
            if number == SIGCHLD:
                reaper.drain()
            number = reaper.wait()  # for all: a signal left pending would count against RLIMIT_SIGPENDING
            refused = 0
        except BaseException as error:
            number = SIGCHLD
            if repr(error) != trouble:
                trouble = repr(error)
                log.tell(WARNING, "unexpected", error)
            refused += isinstance(error, OSError)
            if refused > RETRIES:
                log.tell(FATAL, "cannot_wait", error)
                return 0
            rest()
    return number
