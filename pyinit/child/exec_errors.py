"""Explain why execve(2) refuses a file, or let the shell run it; loaded in the child when that happens."""

from __future__ import annotations

import posix

# errno(3)
ENOENT, EACCES, EISDIR = 2, 13, 21


def explain(error: OSError, name: bytes) -> str:
    """Return why a program cannot be executed: the text of the error, or a better one where that would mislead."""
    if error.errno == ENOENT and b"/" in name and posix.access(name, posix.F_OK):
        return f"{error.strerror} (the file is there: its interpreter or loader is not)"
    return posix.strerror(EISDIR) if error.errno == EACCES and is_folder(name) else str(error.strerror)


def execute_script(path: bytes, argv: list[bytes]) -> None:
    """Let the shell run a file that the kernel cannot execute. Return if it is no script, or there is no shell."""
    if is_binary(path):
        return
    try:
        posix.execv(b"/bin/sh", [b"/bin/sh", path, *argv[1:]])
    except OSError:
        pass


def is_binary(path: bytes) -> bool:
    """Return whether a file that the kernel cannot execute is no script: mostly a program for another machine."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        return b"\0" in posix.read(descriptor, 256).partition(b"\n")[0]
    except OSError:  # executable and not readable: the shell cannot read it either
        return True


def is_folder(path: bytes) -> bool:
    """Return whether the path is a directory, which execve(2) refuses with EACCES."""
    try:
        posix.close(posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC))
    except OSError:
        return False
    return True
