"""Describe the machine that the figures are from, and measure whether other programs disturb them."""

from __future__ import annotations

import os
import platform
import subprocess
import time

from . import procfs

BUSY = 0.1  # if others use a larger share of the CPU time, the report warns about the figures


def describe() -> dict[str, str]:
    """Return CPU, memory, kernel and load, for the head of the report."""
    return {"cpu": f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} x {read_cpu_model()}",
            "memory": read_memory_size(), "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load": " ".join(f"{load:.2f}" for load in os.getloadavg())}


def describe_python(path: str) -> str:
    """Return an interpreter's version and path. The path matters: two builds of one version differ in speed."""
    code = "import platform; print(platform.python_implementation(), platform.python_version())"
    try:
        done = subprocess.run([path, "-IS", "-c", code], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return path
    return f"{done.stdout.strip()}, {path}"


def read_cpu_model() -> str:
    """Return the CPU's name, or its architecture."""
    try:
        for line in procfs.read("/proc/cpuinfo").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.machine()


def read_memory_size() -> str:
    """Return the size of the memory as text, in GB."""
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / (1 << 30):.1f} GB"


def describe_priority() -> str:
    """Return this process's priority, which its children inherit, if it is not the usual one; else ""."""
    if os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        return "real-time"
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    return f"nice {nice}" if nice else ""


def read_ticks() -> dict[str, int]:
    """Return the time of all CPUs since the boot in ticks, by use: the first line of /proc/stat, proc(5)."""
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
    return dict(zip(names, map(int, procfs.read("/proc/stat").split("\n", 1)[0].split()[1:])))


def measure_busy(seconds: float = 0.5) -> float:
    """Sleep for some seconds; return the share of all CPU time that other processes used."""
    before = read_ticks()
    time.sleep(seconds)
    used = {name: value - before[name] for name, value in read_ticks().items()}
    return 1 - (used["idle"] + used["iowait"]) / max(1, sum(used.values()))


class StealWatch:
    """Measures how much CPU time the hypervisor gave to other machines while an experiment ran."""

    def __init__(self) -> None:
        self.before = read_ticks()

    def share(self) -> float:
        """Return that share of all CPU time, since this object was made."""
        used = {name: value - self.before[name] for name, value in read_ticks().items()}
        return used["steal"] / max(1, sum(used.values()))
