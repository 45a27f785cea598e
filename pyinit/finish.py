"""What is left to do when the main child has ended; loaded when there is something."""

from __future__ import annotations

import posix

from .log import DEBUG, INFORMATION, WARNING, Log
from .options import Options
from .reaper import LOST, exit_code


def finish(options: Options, log: Log, main_child: int, status: int, terminal: bool) -> None:
    """What is left to do when the main child has ended."""
    if status == LOST:
        log.tell(WARNING, "status_lost", main_child)
    if options.end_signal:
        end_rest(options, log, main_child)
    log.tell(INFORMATION, "ended", main_child, status, exit_code(status))
    if terminal:
        from .terminal import take_back

        take_back(main_child)


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
