"""Choose the reaper, statistics and end that the options ask for; loaded when they ask for more than the default."""

from __future__ import annotations

from ..log import DEBUG, WARNING, Log
from ..options import Options
from .reaper import WaitReaper, exit_code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Optional

    from .orderly_end import OrderlyEnd
    from .stats import Stats

# Why the kernel cannot reap if each orphan is logged.
NEEDS_LOOP = "a line for each orphan needs the waitpid loop"


def plan(options: Options, log: Log, job_control: bool) -> tuple[WaitReaper, Optional[Stats], Optional[OrderlyEnd]]:
    """Return the reaper, the writer of statistics and the orderly end; the last two are None if not asked for."""
    reaper = choose_reaper(options, log, job_control)
    return reaper, open_stats(options, reaper), plan_end(options, log)


def choose_reaper(options: Options, log: Log, job_control: bool) -> WaitReaper:
    """Return the kernel reaper if it was asked for and works here; else the waitpid loop, which can count."""
    report = reporter(options, log)
    # If SIGCHLD is ignored, waitpid(2) does not report stops.
    obstacle = "stopping with the main child needs the waitpid loop" if job_control else \
        NEEDS_LOOP if options.warn_on_reap else ""
    if lets_kernel_reap(options, log, obstacle):
        try:
            from .kernel_reaper import KernelReaper

            return KernelReaper(log)
        except (ImportError, AttributeError, OSError) as error:
            log.tell(WARNING, "no_kernel_reaping", getattr(error, "strerror", None) or str(error))
    if options.stats or options.stats_signal:
        from .stats import CountingReaper

        return CountingReaper(report)
    return WaitReaper(report)


def lets_kernel_reap(options: Options, log: Log, obstacle: str) -> bool:
    """Return whether the kernel should reap. If the options ask for that, but there is an obstacle, warn."""
    if options.reap == "kernel" and obstacle:
        log.tell(WARNING, "no_kernel_reaping", obstacle)
    return options.reap == "kernel" and not obstacle


def open_stats(options: Options, reaper: WaitReaper) -> Optional[Stats]:
    """Return the writer of the statistics, or None if the options do not ask for them."""
    if not (options.stats or options.stats_signal):
        return None
    from .stats import Stats

    return Stats(options.stats, reaper)


def plan_end(options: Options, log: Log) -> Optional[OrderlyEnd]:
    """Return the orderly end, or None if pyinit leaves when the main child has ended."""
    if options.grace < 0 and not options.wait_all and options.kill_after < 0:
        return None
    from .orderly_end import OrderlyEnd

    return OrderlyEnd(options, log)


def reporter(options: Options, log: Log) -> Optional[Callable[[int, int, bool], None]]:
    """Return the function that the reaper calls for each child, or None, which keeps a call out of the hot loop."""
    if not options.warn_on_reap and log.verbosity < DEBUG:
        return None

    def report(pid: int, status: int, is_main: bool) -> None:
        log.tell(DEBUG, "reaped", pid, exit_code(status))
        if options.warn_on_reap and not is_main:
            log.tell(WARNING, "orphan_reaped", pid)

    return report
