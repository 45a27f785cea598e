"""If stdout or stderr refuses a message, or takes a part of it, pyinit continues, and its exit code is the same."""

from __future__ import annotations

import fcntl
import os
import socket
from collections.abc import Callable

import pytest

from support.inits import Init
from support.orphans import WORKER, use
from support.processes import python, run


def full_pipe() -> tuple[int, int]:
    """Return a pipe without a reader process that is full to its last byte: its read end and its write end."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, bytes(4096))
    except BlockingIOError:
        pass
    try:
        while True:
            os.write(write, b"x")
    except BlockingIOError:
        pass
    os.set_blocking(write, True)
    return read, write


def nearly_full_pipe() -> tuple[int, int]:
    """Return a pipe with room for exactly one page, for which poll(2) still reports POLLOUT."""
    read, write = os.pipe()
    fcntl.fcntl(write, 1031, 8192)  # F_SETPIPE_SZ, <fcntl.h>
    os.write(write, bytes(4096))
    return read, write


def closed_pipe() -> tuple[int, int]:
    """Return a pipe whose read end is closed: a write raises SIGPIPE, pipe(7)."""
    read, write = os.pipe()
    os.close(read)
    return -1, write


def full_device() -> tuple[int, int]:
    """Return a file on a full disk, full(4)."""
    return -1, os.open("/dev/full", os.O_WRONLY)


def read_only() -> tuple[int, int]:
    """Return a descriptor that is not open for writing: write(2) fails with EBADF."""
    return -1, os.open("/dev/null", os.O_RDONLY)


def disconnected_socket() -> tuple[int, int]:
    """Return a stream socket whose other end is closed."""
    one, other = socket.socketpair()
    other.close()
    return -1, one.detach()


BROKEN = [full_pipe, nearly_full_pipe, closed_pipe, full_device, read_only, disconnected_socket]


# The code that writes messages does not depend on the mode.
@pytest.mark.usual("mode")
@pytest.mark.core
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_stderr_that_takes_nothing(init: Init, broken: Callable[[], tuple[int, int]]) -> None:
    """At every verbosity, with more lines than fit: pyinit continues to reap, and forwards no SIGPIPE of its own."""
    for options in ([], ["-w"], ["-vvv", "-w"]):
        read, write = broken()
        try:
            with init.start(python(WORKER), options, stderr=write) as running:
                running.expect("ready")
                use(running, 150 if "-w" in options else 5)
        finally:
            for descriptor in (read, write):
                if descriptor >= 0:
                    os.close(descriptor)


def test_file_size_limit(init: Init) -> None:
    """With RLIMIT_FSIZE a message to a file raises SIGXFSZ in pyinit, setrlimit(2), which it must not forward."""
    with init.start(python(WORKER), ["-vvv", "-w"], inside=["prlimit", "--fsize=0"]) as running:
        running.expect("ready")
        use(running)


@pytest.mark.parametrize("broken", BROKEN[2:], ids=lambda broken: broken.__name__)
def test_refusal_to_a_stderr_that_takes_nothing(any_init: Init, broken: Callable[[], tuple[int, int]]) -> None:
    """The message is lost, and the exit code is right."""
    _, write = broken()
    try:
        assert any_init.run(["/no/such/command"], stderr=write).code == 127
        assert any_init.run(["/"], stderr=write).code == 126
        assert run([*any_init.prefix(), *any_init.program, "--unknown"], stderr=write).code == 1
    finally:
        os.close(write)


@pytest.mark.parametrize("broken", BROKEN[2:], ids=lambda broken: broken.__name__)
def test_help_to_a_stdout_that_takes_nothing(any_init: Init, broken: Callable[[], tuple[int, int]]) -> None:
    _, write = broken()
    try:
        assert run([*any_init.prefix(), *any_init.program, "--help"], stdout=write) == (1, b"", b"")
    finally:
        os.close(write)
