"""`python3 tests/record_proc.py PID... > tests/recorded/NAME.json`: what the zombie report reads, to replay it.

Without a PID: of every process.
"""

from __future__ import annotations

import json
import sys

from support import process_ids

MACHINE = ("uptime", "loadavg", "sys/kernel/pid_max", "sys/kernel/threads-max")
PROCESS = ("stat", "status", "cgroup", "cmdline", "limits")


def record(pids: list[int]) -> dict[str, str]:
    """Path to content, each byte a character."""
    paths = [*MACHINE, *(f"{pid}/{name}" for pid in pids for name in PROCESS)]
    files = {}
    for path in paths:
        with open(f"/proc/{path}", "rb") as file:
            files[path] = file.read().decode("latin-1")
    return files


if __name__ == "__main__":
    json.dump(record([int(pid) for pid in sys.argv[1:]] or sorted(process_ids())), sys.stdout, indent=1)
    print()
