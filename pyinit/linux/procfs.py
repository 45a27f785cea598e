"""Read /proc, proc(5). Any process may end or be hidden between two reads."""

from __future__ import annotations

import posix

from .files import read_file


def list_processes(proc: str = "/proc") -> list[int]:
    """Return the PIDs that a /proc shows, in no order. Raises OSError."""
    return [int(name) for name in posix.listdir(proc) if name.isdigit()]


def split_stat(line: bytes) -> tuple[bytes, list[str]]:
    """Return the name of a line of /proc/PID/stat, and its fields from the state on: state, parent, group, session ...

    The line is `PID (name) state parent ...`, and the name may hold anything, parentheses and newlines as well.
    """
    start, _, rest = line.rpartition(b")")
    return start.partition(b"(")[2], rest.decode().split()


def read_stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on. Raises OSError."""
    return split_stat(read_file(f"/proc/{pid}/stat"))[1]


def find_field(status: bytes, name: bytes) -> bytes:
    """Return the value of one field of /proc/PID/status, or b"" if it is not there.

    No value has a newline in it: those of the name are written as `\\n`.
    """
    start = status.find(b"\n" + name + b":\t")
    if start < 0:
        return b""
    start += len(name) + 3
    end = status.find(b"\n", start)
    return status[start:end] if end >= 0 else status[start:]


def list_children(pid: int) -> list[int]:
    """Return the PIDs of the children of a process's first thread, zombies included, oldest first.

    Raises OSError if the process has ended.
    """
    try:
        return [int(child) for child in read_file(f"/proc/{pid}/task/{pid}/children").split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN, or the process has ended
        posix.stat(f"/proc/{pid}")
        return sorted(child for child, parent in list_parents() if parent == pid)


def list_parents() -> list[tuple[int, int]]:
    """Return the PID of each process with that of its parent. Processes that have just ended are left out.

    Raises OSError if /proc cannot be read, also when it is only one process's `stat`: EMFILE, ENFILE.
    """
    found = []
    for pid in list_processes():
        try:
            found.append((pid, int(read_stat(pid)[1])))
        except (FileNotFoundError, ProcessLookupError, PermissionError, IndexError):
            continue  # it has just ended, or it is hidden from pyinit
    return found
