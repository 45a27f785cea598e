"""The machine that the figures are from, and whether it is quiet enough for them."""

from __future__ import annotations

import os
import platform
import subprocess
import time

from . import procfs

BUSY = 0.1  # the share of CPU time used by others above which the figures are doubted


def describe() -> dict[str, str]:
    """CPU, memory, kernel, Python and load, for the head of the report."""
    return {"cpu": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} x {read_cpu_model()}",
            "memory": read_memory_size(), "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load": " ".join(f"{load:.2f}" for load in os.getloadavg())}


def find_interpreter(launcher: str) -> str:
    """The interpreter that a launcher names in its first line."""
    with open(launcher, encoding="utf-8", errors="surrogateescape") as file:
        return file.readline()[2:].split()[0]


def describe_python(path: str) -> str:
    """An interpreter's version and path: how one was built counts for as much as its version."""
    code = "import platform; print(platform.python_implementation(), platform.python_version())"
    try:
        done = subprocess.run([path, "-IS", "-c", code], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return path
    return f"{done.stdout.strip()}, {path}"


def read_cpu_model() -> str:
    """The CPU's name, or its architecture."""
    try:
        for line in procfs.read("/proc/cpuinfo").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def read_memory_size() -> str:
    """Memory in GB."""
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.1f} GB"


def read_ticks() -> dict[str, int]:
    """Time of all CPUs so far in ticks, by what they did: the first line of /proc/stat, proc(5)."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    return dict(zip(names, map(int, procfs.read("/proc/stat").split("\n", 1)[0].split()[1:])))


def measure_busy(seconds: float = 0.5) -> float:
    """The share of all CPU time that others use while this process sleeps."""
    before = read_ticks()
    time.sleep(seconds)
    used = {name: value - before[name] for name, value in read_ticks().items()}
    return 1 - (used["idle"] + used["iowait"]) / max(1, sum(used.values()))


class StealWatch:
    """The share of CPU time that the hypervisor gave to others while an experiment ran."""

    def __init__(self) -> None:
        self.before = read_ticks()

    def share(self) -> float:
        """The share since this was made."""
        used = {name: value - self.before[name] for name, value in read_ticks().items()}
        return used["steal"] / max(1, sum(used.values()))
