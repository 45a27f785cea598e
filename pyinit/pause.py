"""The pause: no main child; reap what is adopted until SIGINT or SIGTERM, as Kubernetes' pause v3.1 does."""

from __future__ import annotations

import posix
from _signal import SIGCHLD, SIGINT, SIGTERM, signal, sigwait

from .lines import write_line
from .log import DEBUG, WARNING, Log
from .options import Options
from .reaper import WaitReaper
from .signals import SIG_IGN, WAITED

DESCRIPTIONS = {SIGINT: "Interrupt", SIGTERM: "Terminated"}  # strsignal(3)


def pause(options: Options, log: Log) -> int:
    """Reap until SIGINT or SIGTERM; return exit code 0. Other signals are taken, and do nothing.

    With options.reap "kernel" the kernel does it, without a wakeup: nobody asks for a status here, kernel_reaper.py.
    """
    if options.announce and posix.getpid() != 1:
        write_line("Warning: pause should be the first process")
    report, kernel = None, options.reap == "kernel"
    if options.warn_on_reap or log.verbosity >= DEBUG:
        from .plan import lets_kernel_reap, reporter

        report, kernel = reporter(options, log), lets_kernel_reap(options, log, True)
    if kernel:
        signal(SIGCHLD, SIG_IGN)
    # From here on nothing but SIGINT and SIGTERM may end the pause: the pod's namespace goes with it.
    reaper = WaitReaper(report)
    number = SIGCHLD  # sweep once unasked: children may have ended before the first wait
    while number not in DESCRIPTIONS:
        try:
            if number == SIGCHLD:
                reaper.drain()
            number = sigwait(WAITED)  # the others too: left pending they would count against RLIMIT_SIGPENDING
        except BaseException as error:
            number = SIGCHLD
            log.tell(WARNING, "unexpected", error)
    if options.announce:
        write_line(f"Shutting down, got signal: {DESCRIPTIONS[number]}")
    return 0
