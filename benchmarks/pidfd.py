"""A storm generator that measures its own orphans, for machines without tracepoints; the protocol is storm.c's.

The orphans live and are known by their PIDs. At its planned instant each gets SIGKILL; it is gone when its pidfd says
POLLHUP (Linux 6.9 and later: the process has been reaped), or when kill(2) says ESRCH. Run as a script by
`python3 -IS`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

POOL = 50  # orphans that are kept ready
PATIENCE = 5_000_000_000  # nanoseconds until an orphan counts as never reaped


def find_method() -> str:
    """ "pidfd" where the kernel tells by POLLHUP that a process was reaped, else "polling"."""
    if not hasattr(os, "pidfd_open"):
        return "polling"
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        os.waitpid(pid, 0)
        return "polling"
    os.waitpid(pid, 0)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    events = poll.poll(100)
    os.close(descriptor)
    return "pidfd" if events and events[0][1] & select.POLLHUP else "polling"


def make_orphans(count: int) -> list[int]:
    """Live orphans; return their PIDs."""
    read_end, write_end = os.pipe()
    parent = os.fork()
    if parent == 0:
        try:
            for _ in range(count):
                child = os.fork()
                if child == 0:
                    while True:
                        signal.pause()
                os.write(write_end, child.to_bytes(4, "little"))
        finally:
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as file:
        pids = file.read(4 * count) if os.waitpid(parent, 0) else b""
    return [int.from_bytes(pids[place:place + 4], "little") for place in range(0, len(pids), 4)]


class Observer:
    """Kills orphans and sees when they are gone."""

    def __init__(self, method: str) -> None:
        self.use_pidfd = method == "pidfd"
        self.poll = select.poll()
        self.pidfds: dict[int, int] = {}  # descriptor to PID
        self.killed: dict[int, int] = {}  # PID to the instant of its SIGKILL
        self.gone: dict[int, int] = {}
        self.sequence: list[int] = []

    def watch(self, pids: list[int]) -> None:
        """Get to know orphans before they are killed."""
        for pid in pids if self.use_pidfd else ():
            descriptor = os.pidfd_open(pid)
            self.pidfds[descriptor] = pid
            self.poll.register(descriptor, 0)  # POLLHUP is always reported

    def kill(self, pid: int) -> None:
        """Make an orphan a zombie."""
        self.killed[pid] = time.monotonic_ns()
        self.sequence.append(pid)
        os.kill(pid, signal.SIGKILL)

    def look(self, wait: int) -> None:
        """Note who is gone; wait for up to `wait` nanoseconds if nobody is."""
        if self.use_pidfd:
            for descriptor, _ in self.poll.poll(wait / 1e6):
                self.note(self.pidfds.pop(descriptor))
                self.poll.unregister(descriptor)
                os.close(descriptor)
            return
        for pid in self.killed.keys() - self.gone.keys():
            try:
                os.kill(pid, 0)  # kill(2): a zombie still exists
            except ProcessLookupError:
                self.note(pid)

    def note(self, pid: int) -> None:
        """An orphan is gone now."""
        self.gone[pid] = time.monotonic_ns()

    def finish(self) -> None:
        """Wait for those that were killed."""
        deadline = time.monotonic_ns() + PATIENCE
        while len(self.gone) < len(self.killed) and time.monotonic_ns() < deadline:
            self.look(1_000_000)


def storm(rate: float, count: int, method: str, pool: int = POOL) -> str:
    """Kill orphans, each at its planned instant, or one after the other without a rate; report on each."""
    observer = Observer(method)
    ready: list[int] = []
    late = latest = made = 0
    started = 0
    from_plan: list[tuple[int, int]] = []
    while made < count:
        if not ready:
            ready = make_orphans(min(pool, count - made))
            observer.watch(ready)
            if not ready:
                break
        started = started or time.monotonic_ns() + 5_000_000
        planned = started + int(made * 1e9 / rate) if rate else time.monotonic_ns()
        while time.monotonic_ns() < planned:
            if len(observer.killed) == len(observer.gone) and len(ready) < min(pool, count - made):
                more = make_orphans(1)  # only while nobody is waited for: it would delay the look
                observer.watch(more)
                ready += more
            elif len(observer.killed) == len(observer.gone):
                observer.look(max(0, planned - time.monotonic_ns()))
            else:
                observer.look(0)
        lateness = time.monotonic_ns() - planned
        late += bool(rate) and lateness > 1e9 / rate
        latest = max(latest, lateness if rate else 0)
        pid = ready.pop(0)
        from_plan.append((pid, planned))
        observer.kill(pid)
        made += 1
        observer.look(0)
    end = time.monotonic_ns()
    observer.finish()
    latencies = [observer.gone[pid] - observer.killed[pid] for pid in observer.sequence if pid in observer.gone]
    plans = [observer.gone[pid] - planned for pid, planned in from_plan if pid in observer.gone] if rate else []
    return (f"made={made} refused={count - made} first_refused=0 start={started} end={end} late={late} latest={latest} "
            f"latencies={','.join(map(str, latencies))} from_plan={','.join(map(str, plans))}")


def main() -> None:
    """`pidfd.py NAME`: obey commands as storm.c does."""
    method = find_method()
    for line in sys.stdin:
        name, *numbers = line.split() or [""]
        if name == "live":
            made = len(make_orphans(int(numbers[0])))
            print(f"made={made} refused={int(numbers[0]) - made}", flush=True)
        elif name == "paced":
            print(storm(float(numbers[0]), int(numbers[1]), method), flush=True)
        elif name == "flat":
            print(storm(0, int(numbers[0]), method), flush=True)
        elif name == "burst":
            print(storm(0, int(numbers[0]), method, pool=int(numbers[0])), flush=True)
        else:
            print("error=1", flush=True)


if __name__ == "__main__":
    main()
