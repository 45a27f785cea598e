"""A storm generator that measures its own orphans, for machines without tracepoints. storm.c describes the protocol.

It makes live orphans, whose PIDs it knows, and kills each at its planned instant. An orphan has been reaped when its
pidfd reports POLLHUP (from Linux 6.9 on), or when kill(2) fails with ESRCH. `python3 -IS` runs this file as a script.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time

POOL = 50  # live orphans that are made ahead of their instants
PATIENCE = 5_000_000_000  # nanoseconds after which an orphan counts as never reaped


def find_method() -> str:
    """Return "pidfd" if the kernel reports POLLHUP for a process that was reaped, else "polling"."""
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
    """Make live orphans; return the PIDs of those that could be made."""
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
    """Kills orphans and records when each was reaped.

    method: the result of find_method()
    """

    def __init__(self, method: str) -> None:
        self.use_pidfd = method == "pidfd"
        self.poll = select.poll()
        self.pidfds: dict[int, int] = {}  # descriptor to PID
        self.killed: dict[int, int] = {}  # PID to the instant of its SIGKILL
        self.gone: dict[int, int] = {}  # PID to the instant at which it was reaped
        self.sequence: list[int] = []  # PIDs in the order in which they were killed

    def watch(self, pids: list[int]) -> None:
        """Open the pidfds of live orphans, so that their reaping can be observed."""
        for pid in pids if self.use_pidfd else ():
            descriptor = os.pidfd_open(pid)
            self.pidfds[descriptor] = pid
            self.poll.register(descriptor, 0)  # poll(2) always reports POLLHUP

    def kill(self, pid: int) -> None:
        """Kill an orphan, so that it becomes a zombie."""
        self.killed[pid] = time.monotonic_ns()
        self.sequence.append(pid)
        os.kill(pid, signal.SIGKILL)

    def look(self, wait: int) -> None:
        """Record the orphans that have been reaped; with pidfds, wait up to `wait` nanoseconds for the first one."""
        if self.use_pidfd:
            for descriptor, _ in self.poll.poll(wait / 1e6):
                self.note(self.pidfds.pop(descriptor))
                self.poll.unregister(descriptor)
                os.close(descriptor)
            return
        for pid in self.killed.keys() - self.gone.keys():
            try:
                os.kill(pid, 0)  # kill(2) succeeds for a zombie, too
            except ProcessLookupError:
                self.note(pid)

    def note(self, pid: int) -> None:
        """Record that an orphan has been reaped by now."""
        self.gone[pid] = time.monotonic_ns()

    def finish(self) -> None:
        """Wait until all killed orphans have been reaped, up to PATIENCE nanoseconds."""
        deadline = time.monotonic_ns() + PATIENCE
        while len(self.gone) < len(self.killed) and time.monotonic_ns() < deadline:
            self.look(1_000_000)


def storm(rate: float, count: int, method: str, pool: int = POOL) -> str:
    """Kill orphans, each at its planned instant, or one after the other if `rate` is 0; return the answer."""
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
                more = make_orphans(1)  # only while no zombie is left: fork(2) would delay the next look
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
    """Read commands from stdin and answer each, as storm.c does: `pidfd.py NAME`."""
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
