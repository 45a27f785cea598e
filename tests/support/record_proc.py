"""Record the files of /proc that the zombie report reads: `record_proc.py PID... > tests/unit/recorded/NAME.json`.

Without a PID it records every process. Tests replay the recording.
"""

from __future__ import annotations

import json
import sys

from pyinit.linux.procfs import list_processes

MACHINE = ("uptime", "loadavg", "sys/kernel/pid_max", "sys/kernel/threads-max")
PROCESS = ("stat", "status", "cgroup", "cmdline", "limits")


def record(pids: list[int]) -> dict[str, str]:
    """Return the content of each file by its path below /proc, one character for each byte."""
    paths = [*MACHINE, *(f"{pid}/{name}" for pid in pids for name in PROCESS)]
    files = {}
    for path in paths:
        with open(f"/proc/{path}", "rb") as file:
            files[path] = file.read().decode("latin-1")
    return files


if __name__ == "__main__":
    json.dump(record([int(pid) for pid in sys.argv[1:]] or sorted(list_processes())), sys.stdout, indent=1)
    print()
