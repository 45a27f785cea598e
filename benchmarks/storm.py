"""The storm generator in Python, for machines without a C compiler; the protocol is described in storm.c.

Run as a script by `python3 -IS`: it imports nothing of this package, so that a fork copies as little as possible.
"""

from __future__ import annotations

import os
import signal
import sys
import time


def make_orphan(stays: bool) -> int:
    """An orphan, by way of a parent that exits. Return 0, or the errno with which fork(2) was refused."""
    try:
        parent = os.fork()
    except OSError as error:
        return error.errno
    if parent == 0:
        try:
            if os.fork() == 0:
                while stays:
                    signal.pause()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    return os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1])


def make_live(count: int) -> str:
    """Orphans that stay alive until their namespace is ended."""
    made = refused = 0
    while made + refused < count and refused < 100:
        if make_orphan(True):
            refused += 1
        else:
            made += 1
    return f"made={made} refused={refused}"


def make_storm(rate: float, count: int) -> str:
    """Orphans that exit at once, each at its planned instant; a rate of 0 has no plan."""
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
    """Zombies whose parent exits: all are handed to the init in one instant."""
    start = time.monotonic_ns()
    parent = os.fork()
    if parent == 0:
        try:
            for _ in range(count):
                child = os.fork()
                if child == 0:
                    os._exit(0)
                os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # waitid(2): it stays a zombie
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    error = os.waitstatus_to_exitcode(os.waitpid(parent, 0)[1])
    return f"made={0 if error else count} refused={error} start={start} end={time.monotonic_ns()}"


def receive() -> None:
    """Write CLOCK_MONOTONIC, in nanoseconds as 8 bytes, for each SIGUSR1; a 0 when ready."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1,))
    os.write(1, bytes(8))
    while True:
        signal.sigwait((signal.SIGUSR1,))
        os.write(1, time.monotonic_ns().to_bytes(8, sys.byteorder))


def obey(line: str) -> str:
    """Carry out one command; return the answer."""
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
    """`storm.py NAME [receive]`."""
    with open("/proc/self/comm", "w") as file:
        file.write(sys.argv[1])
    if sys.argv[2:] == ["receive"]:
        receive()
    for line in sys.stdin:
        print(obey(line), flush=True)


if __name__ == "__main__":
    main()
