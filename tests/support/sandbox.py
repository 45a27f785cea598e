"""Refuse system calls, or hold a process at one, by seccomp(2)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable

import pytest

from pyinit.lean import MACHINES
from support.settings import DEADLINE
from support.waiting import wait_until

# Numbers of system calls, <asm/unistd.h>: those that lean programs make, and others.
NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": {**MACHINES["x86_64"].CALLS, "execveat": 322, "exit": 60, "pidfd_send_signal": 424, "seccomp": 317,
               "setsid": 112, "waitid": 247},
    "aarch64": {**MACHINES["aarch64"].CALLS, "execveat": 281, "exit": 93, "pidfd_send_signal": 424, "seccomp": 277,
                "setsid": 157, "waitid": 95},
}


def refuse_call(number: int, error: int) -> None:
    """Make a system call fail with `error` (an errno) in this process and its descendants, seccomp(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions = b"".join(struct.pack("HBBI", *instruction) for instruction in (
        (0x20, 0, 0, 0),                   # load the number of the system call
        (0x15, 0, 1, number),              # is it that one?
        (0x06, 0, 0, 0x00050000 | error),  # SECCOMP_RET_ERRNO
        (0x06, 0, 0, 0x7FFF0000)))         # SECCOMP_RET_ALLOW
    buffer = ctypes.create_string_buffer(instructions)
    program = struct.pack("HxxxxxxP", 4, ctypes.addressof(buffer))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP
        raise OSError(ctypes.get_errno(), "seccomp")


class HeldCall:
    """Hold each process that is about to make a system call until the test releases it, seccomp_unotify(2).

    Pass `install` as preexec_fn: the filter applies to the program and its descendants. The `with` of this object must
    enclose that of the program.
    """

    def __init__(self, call: str, arguments: dict[int, int]) -> None:
        """Hold only calls in which the arguments at the given positions have the given values."""
        self.call = number_of(call)
        self.seccomp = number_of("seccomp")
        self.arguments = arguments
        self.here, self.there = socket.socketpair()
        self.listener = -1
        self.held = 0

    def __enter__(self) -> HeldCall:
        return self

    def __exit__(self, *_: object) -> None:
        self.here.close()
        self.there.close()
        if self.listener >= 0:
            os.close(self.listener)

    def install(self) -> None:
        """Install the filter and pass its listener to the test; called in the child."""
        tests = [(0, self.call), *((16 + 8 * position, value) for position, value in self.arguments.items())]
        instructions = []
        for left, (offset, value) in zip(range(len(tests), 0, -1), tests):
            instructions += [(0x20, 0, 0, offset), (0x15, 0, 2 * left - 1, value)]  # load; on if it is that, or allow
        instructions += [(0x06, 0, 0, 0x7FC00000), (0x06, 0, 0, 0x7FFF0000)]  # SECCOMP_RET_USER_NOTIF, _ALLOW
        buffer = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
        program = struct.pack("HxxxxxxP", len(instructions), ctypes.addressof(buffer))
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
        listener = libc.syscall(self.seccomp, 1, 8, program)  # SET_MODE_FILTER, FILTER_FLAG_NEW_LISTENER
        if listener < 0:
            raise OSError(ctypes.get_errno(), "seccomp")
        socket.send_fds(self.there, [b"x"], [listener])
        os.close(listener)

    def is_made_in(self, seconds: float) -> bool:
        """Say whether a process makes the call in this time; wait() then returns at once."""
        if self.listener < 0:
            self.here.settimeout(DEADLINE)
            self.listener, = socket.recv_fds(self.here, 1, 1)[1]
        poll = select.poll()  # it tells a call, POLLIN, from the end of all processes, POLLHUP
        poll.register(self.listener, select.POLLIN)
        return any(events & select.POLLIN for _, events in poll.poll(seconds * 1000))

    def wait(self) -> int:
        """Wait for a process to make the call; return its PID."""
        assert self.is_made_in(DEADLINE), "no process has made the call"
        notification = bytearray(80)  # struct seccomp_notif
        fcntl.ioctl(self.listener, 0xC0502100, notification)  # SECCOMP_IOCTL_NOTIF_RECV
        pid: int
        self.held, pid = struct.unpack_from("QI", notification)
        return pid

    def release_until(self, condition: Callable[[], bool]) -> None:
        """Let each process make the call until a condition holds; fail at the deadline."""
        def release_next() -> bool:
            if self.is_made_in(0):
                self.let_through()
            return condition()

        wait_until(release_next, "the end of those who make the call")

    def let_through(self) -> None:
        """Wait for a process to make the call, and let it."""
        self.wait()
        self.release()

    def release(self) -> None:
        """Let the process make the call."""
        answer = bytearray(struct.pack("QqiI", self.held, 0, 0, 1))  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
        fcntl.ioctl(self.listener, 0xC0182101, answer)  # SECCOMP_IOCTL_NOTIF_SEND


def number_of(call: str) -> int:
    """Return the number of a system call on this machine; skip the test if NUMBERS does not have it."""
    if os.uname().machine not in NUMBERS:
        pytest.skip(f"the number of {call}(2) on {os.uname().machine} is not known here")
    return NUMBERS[os.uname().machine][call]
