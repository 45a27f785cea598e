"""A main child with helpers that end in different ways (tests/programs/family.py), and how a test drives them."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from support.inits import Init
from support.proc import read_stat
from support.processes import PopenOptions, Running, python, source
from support.settings import DEADLINE
from support.waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Unpack

# Seconds, far beyond the tests' deadline: a test that waits this long fails.
LONG = "1000"
FAMILY = source("family")


def family(*names: str, kind: str = "main") -> list[str]:
    """Return the command of the main child with these helpers."""
    return python(FAMILY, kind, *names)


def start(init: Init, options: list[str], *names: str, kind: str = "main", **popen: Unpack[PopenOptions]) -> Running:
    """Start a family under pyinit, and wait until all of its processes run."""
    running = init.start(family(*names, kind=kind), options, **popen)
    try:
        running.expect("ready")
        running.note_sessions()  # a daemon has its own
    except BaseException:
        running.__exit__()
        raise
    return running


def end_main(running: Running) -> None:
    """Tell the main child to end."""
    running.write(b"\n")


def end_grace(running: Running, number: int = signal.SIGTERM) -> None:
    """Send the two termination signals that end the grace at once. The helper `stubborn` must still run."""
    running.send(number)
    # Two signals of the same number that are pending at the same time become one, signal(7).
    running.expect(f"stubborn {int(number)}")
    running.send(number)


def code_of(running: Running) -> int:
    """Wait for pyinit to end and return its exit code."""
    return running.process.wait(DEADLINE)


def read_lines(running: Running, count: int) -> list[str]:
    """Read the next lines and return them sorted, as they come in any order."""
    return sorted(running.read_line() for _ in range(count))


def wait_for_end_of_main(running: Running, main: int) -> None:
    """Wait until pyinit has reaped its main child."""
    wait_until(lambda: not read_stat(main), "the main child to be reaped")


def end_main_first(running: Running, *lines: str) -> None:
    """Let the main child end, and wait until the processes that are left have printed these lines, in any order, and
    pyinit has reaped it.
    """
    main = running.main_child
    end_main(running)
    assert read_lines(running, len(lines)) == sorted(lines)
    wait_for_end_of_main(running, main)
