"""The probe: make an orphan, and find out which process adopts it and whether that process reaps it."""

from __future__ import annotations

import os
import signal
import time
from typing import NamedTuple, NoReturn

from .files import read_or_nothing
from .snapshot import decode

# An init that reaps does so in less than a millisecond, and one that polls, like tini, within a second. The lean probe
# does the same.
SECONDS = 2
INTERVAL = 0.005  # seconds between two looks
LOOKS = round(SECONDS / INTERVAL)


class Finding(NamedTuple):
    """What became of the orphan."""

    orphan: int  # its PID
    parent: int  # the PID of the process that adopted it
    name: str  # that process's name; "" if /proc does not show it
    reaped: bool  # within LOOKS


class ProbeError(Exception):
    """The probe cannot give an answer; the text says why, and what was expected."""


def probe() -> Finding:
    """Make an orphan, let it end, and watch what becomes of it. Raises ProbeError.

    If this process ends early, the orphan ends as well.
    """
    if os.getpid() == 1:
        raise ProbeError("this probe is PID 1 itself; expected to run beside the container's program, as by exec")
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # if it is ignored, waitpid(2) does not return the status
    orphan, parent = make_orphan()
    if parent == os.getpid():
        os.waitpid(orphan, 0)
        raise ProbeError("this probe adopted the orphan itself, as it was started as a subreaper, prctl(2); expected "
                         "to be started by another process")
    name = decode(read_or_nothing(f"/proc/{parent}/comm")).rstrip("\n")
    return Finding(orphan, parent, name, is_reaped(orphan))


def make_orphan() -> tuple[int, int]:
    """Make an orphan that ends at once; return its PID and its new parent's. Raises ProbeError."""
    gate, opener = os.pipe()
    answer, reply = os.pipe()
    try:
        child = os.fork()
    except OSError as error:
        raise ProbeError(refusal(error.errno or 1)) from None
    if child == 0:
        leave_orphan(gate, opener, reply)
    os.close(gate)
    os.close(reply)
    # The kernel gives the orphan its new parent before waitpid(2) can return for the old one.
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code:
        raise ProbeError(refusal(code))
    os.close(opener)
    with open(answer, "rb") as stream:  # read() returns when the orphan has ended
        numbers = stream.read().split()
    if len(numbers) != 2:
        raise ProbeError("the orphan was killed before it answered")
    return int(numbers[0]), int(numbers[1])


def leave_orphan(gate: int, opener: int, reply: int) -> NoReturn:
    """In the child: start the orphan and end with exit code 0, or with the error.

    The orphan waits until no process has the pipe's other end open: the probe closes it, or has ended.
    """
    code = 1
    try:
        os.close(opener)
        if os.fork() == 0:
            os.read(gate, 1)
            os.write(reply, b"%d %d" % (os.getpid(), os.getppid()))
        code = 0
    except OSError as error:
        code = error.errno or 1
    finally:
        os._exit(code)


def refusal(error: int) -> str:
    """Say why no process can be started."""
    reason = os.strerror(error) if error > 0 else "it was killed"
    return f"cannot start a process: {reason}; expected two free PIDs (see the report, without --probe)"


def is_reaped(pid: int) -> bool:
    """Wait for a process that has ended to be reaped; return whether that happened within LOOKS.

    Looks are counted instead of time: a machine that stands still for seconds may hold up the init as well.
    """
    for _ in range(LOOKS):
        try:
            os.kill(pid, 0)  # succeeds for a zombie as well, kill(2)
        except ProcessLookupError:
            return True
        time.sleep(INTERVAL)
    return False
