"""The storm generator in Python, for machines without a C compiler. storm.c describes the protocol.

`python3 -IS` runs this file as a script. It imports nothing of this package, so that fork(2) copies as little as
possible.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def make_orphan(stays: bool) -> int:
    """Make an orphan: fork a parent that forks it and exits. Return 0, or the errno of the fork(2) that failed.

    stays: whether the orphan stays alive; else it exits at once
    """
    try:
        parent = os.fork()
    except OSError as error:
        return error.errno or 1
    if parent == 0:
        try:
            if os.fork() == 0:
                while stays:
                    signal.pause()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    return os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1])


def make_live(count: int) -> str:
    """Make orphans that stay alive until their namespace ends; return the answer."""
    made = refused = 0
    while made + refused < count and refused < 100:
        if make_orphan(True):
            refused += 1
        else:
            made += 1
    return f"made={made} refused={refused}"


def make_storm(rate: float, count: int) -> str:
    """Make orphans that exit at once, each at its planned instant, without a plan if `rate` is 0; return the answer."""
    made = refused = late = latest = first_refused = 0
    start = time.monotonic_ns() + (5_000_000 if rate else 0)
    for index in range(count):
        if rate:
            planned = start + int(index * 1e9 / rate)
            time.sleep(max(0, planned - time.monotonic_ns()) / 1e9)
            lateness = time.monotonic_ns() - planned
            late += lateness > 1e9 / rate
            latest = max(latest, lateness)
        if make_orphan(False) == 0:
            made += 1
        else:
            refused += 1
            first_refused = first_refused or time.monotonic_ns()
    return (f"made={made} refused={refused} first_refused={first_refused} start={start} end={time.monotonic_ns()} "
            f"late={late} latest={latest}")


def make_burst(count: int) -> str:
    """Make zombies whose parent then exits, so that the init gets all of them in one instant; return the answer."""
    start = time.monotonic_ns()
    parent = os.fork()
    if parent == 0:
        try:
            for _ in range(count):
                child = os.fork()
                if child == 0:
                    os._exit(0)
                os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # WNOWAIT, waitid(2): it stays a zombie
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 1)
    refused = os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1])
    return f"made={0 if refused else count} refused={refused} start={start} end={time.monotonic_ns()}"


def receive() -> None:
    """Write a 0 when ready, then the nanoseconds of CLOCK_MONOTONIC for each SIGUSR1; each number has 8 bytes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1,))
    os.write(1, bytes(8))
    while True:
        signal.sigwait((signal.SIGUSR1,))
        os.write(1, time.monotonic_ns().to_bytes(8, sys.byteorder))


def obey(line: str) -> str:
    """Carry out one command, and return the answer."""
    name, *numbers = line.split() or [""]
    if name == "live":
        return make_live(int(numbers[0]))
    if name == "paced":
        return make_storm(float(numbers[0]), int(numbers[1]))
    if name == "flat":
        return make_storm(0, int(numbers[0]))
    if name == "burst":
        return make_burst(int(numbers[0]))
    return "error=unknown"


def main() -> None:
    """Read commands from stdin and answer each, or receive signals: `storm.py NAME [receive]`."""
    with open("/proc/self/comm", "w") as file:
        file.write(sys.argv[1])
    if sys.argv[2:] == ["receive"]:
        receive()
    for line in sys.stdin:
        print(obey(line), flush=True)


if __name__ == "__main__":
    main()
