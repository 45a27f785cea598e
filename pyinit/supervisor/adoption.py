"""Ask the kernel to make pyinit a subreaper and to send it a parent-death signal; loaded when asked for."""

from __future__ import annotations

import posix

from ..log import WARNING, Log
from ..options import Options


def set_process_attributes(options: Options, log: Log) -> None:
    """Set the parent-death signal and become a subreaper, if asked for; warn once if orphans will not be adopted."""
    if options.parent_death_signal:
        set_parent_death_signal(options.parent_death_signal, log)
    if posix.getpid() == 1 or not (options.subreaper or options.warn_not_adopting and log.verbosity):
        return
    try:
        from ..linux import prctl

        if options.subreaper and prctl.set_subreaper() or prctl.is_subreaper():
            return
    except (ImportError, OSError):  # no _ctypes, as with Debian's python3-minimal; no descriptor to look for it, EMFILE
        pass
    log.tell(WARNING, "no_subreaper" if options.subreaper else "not_adopting")


def set_parent_death_signal(number: int, log: Log) -> None:
    """Ask the kernel to send pyinit a signal when its parent exits."""
    parent = posix.getppid()
    try:
        from ..linux.prctl import set_parent_death_signal as set_signal

        done = set_signal(number)
    except (ImportError, OSError):
        done = False
    if not done:
        log.tell(WARNING, "no_parent_death_signal")
    elif posix.getppid() != parent:
        posix.kill(posix.getpid(), number)  # the parent died before the call
