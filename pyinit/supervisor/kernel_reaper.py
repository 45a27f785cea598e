"""Reaping by the kernel: if a process ignores SIGCHLD, the kernel releases its children when they exit, wait(2) NOTES.

There is no zombie, no wakeup of pyinit and no walk through its children, and reaping goes on while a CPU quota has
stopped pyinit. The kernel discards the main child's status, too, so pyinit reads it from a pidfd, Linux 6.15.

Rejected: handlers and set_wakeup_fd() for the signals. A handler runs Python for each signal, and the pipe behind it
can be full. With a signalfd, signals stay blocked and queued, and real-time signals keep their number.
"""

from __future__ import annotations

import _ctypes
import fcntl
import posix
import select
import sys
from _signal import SIGCHLD, pidfd_send_signal, signal

from ..log import WARNING, Log
from .reaper import LOST, WaitReaper
from ..linux.signals import SIG_DFL, SIG_IGN, WAITED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

# <linux/pidfd.h>: struct pidfd_info of 64 bytes, the first version, and its request, _IOWR(0xFF, 11, size).
INFO_SIZE = 64
PIDFD_GET_INFO = 3 << 30 | INFO_SIZE << 16 | 0xFF << 8 | 11
PIDFD_INFO_EXIT = 1 << 3  # a bit of the mask, the first eight bytes, in the request and in the answer
PIDFD_SIGNAL_PROCESS_GROUP = 1 << 2
EXIT_CODE = slice(60, 64)

SFD_CLOEXEC, SFD_NONBLOCK = posix.O_CLOEXEC, posix.O_NONBLOCK  # signalfd(2)
SIGINFO_SIZE = 128  # struct signalfd_siginfo, which begins with the number
SIGSET_SIZE = 128  # sigset_t of the C library


class KernelReaper(WaitReaper):
    """Leaves reaping to the kernel, and reads the main child's status from its pidfd."""

    __slots__ = ("log", "pidfd", "signals", "poll")

    def __init__(self, log: Log) -> None:
        """Raise OSError if this kernel or a sandbox does not support it."""
        super().__init__(None)
        self.log = log
        self.pidfd = -1
        check_support()
        self.signals = open_signalfd()
        self.poll = select.poll()
        self.poll.register(self.signals, select.POLLIN)

    def watch(self, main_child: int) -> int:
        """Learn which child is the main child, and leave the rest to the kernel; return a signal to begin with.

        SIGCHLD may only be ignored once the pidfd is open: the main child may have ended, and its status would be lost.
        Without a pidfd (EMFILE) this is the waitpid loop.
        """
        self.main_child = main_child
        try:
            self.pidfd = posix.pidfd_open(main_child)
        except OSError as error:
            self.close()  # the message may need a descriptor
            self.log.tell(WARNING, "no_kernel_reaping", error.strerror)
            return 0
        self.poll.register(self.pidfd, 0)  # POLLHUP: the main child is released, and only then its status can be read
        signal(SIGCHLD, SIG_IGN)
        return SIGCHLD

    def send(self, number: int, to_group: bool = False) -> None:
        """As WaitReaper.send(), but by the pidfd: the kernel frees the PID the instant the main child exits."""
        if self.pidfd < 0:
            super().send(number, to_group)
        else:
            pidfd_send_signal(self.pidfd, number, None, PIDFD_SIGNAL_PROCESS_GROUP if to_group else 0)

    def descriptors(self) -> set[int]:
        """Return the descriptors that it needs."""
        return {self.signals, self.pidfd}

    def wait(self, timeout: float = -1.0) -> int:
        """As WaitReaper.wait(), but return SIGCHLD also when the main child has ended."""
        if self.pidfd < 0 or self.budget <= 0 or self.children_next:
            return super().wait(timeout)
        # poll(2) takes a C int; a caller with a longer timeout calls again.
        ready = self.poll.poll(None if timeout < 0 else min(timeout * 1000, 0x7fffffff))
        if not ready:
            return 0
        if any(descriptor != self.signals for descriptor, _ in ready):
            return SIGCHLD  # before any signal, which is for the processes that are left
        return int.from_bytes(posix.read(self.signals, SIGINFO_SIZE)[:4], sys.byteorder)

    def drain(self) -> Optional[int]:
        """Reap what ended before SIGCHLD was ignored; return the main child's wait status if it has ended.

        Once it has ended, this is the waitpid loop: pyinit may have to wait for the processes that are left.
        """
        if self.pidfd < 0:
            return super().drain()
        main_child = self.main_child
        status = super().drain()  # LOST also if the kernel has released it
        if status is None or status == LOST:
            status = self.read_status()
        if status is None:
            self.main_child = main_child
        else:
            self.main_child = None
            self.close()
            signal(SIGCHLD, SIG_DFL)
            super().drain()
        return status

    def close(self) -> None:
        """Close the descriptors: from now on this is the waitpid loop."""
        for descriptor in (self.signals, self.pidfd):
            if descriptor >= 0:
                posix.close(descriptor)
        self.signals = self.pidfd = -1

    def read_status(self) -> Optional[int]:
        """Return the main child's wait status: None while it runs, LOST if the kernel does not give it."""
        if not is_released(self.pidfd):
            return None
        try:
            info = read_info(self.pidfd)
        except OSError:
            return LOST
        if not int.from_bytes(info[:8], sys.byteorder) & PIDFD_INFO_EXIT:
            return LOST
        return int.from_bytes(info[EXIT_CODE], sys.byteorder, signed=True)


def check_support() -> None:
    """Raise OSError unless a pidfd gives the exit code of its process, and takes signals for it and for its group.

    Linux before 6.15 accepts the request and leaves the exit code out, as it does for a process that runs, so the
    version is checked. A sandbox may refuse each call on its own, so each is tried; signal 0 sends nothing, kill(2).
    """
    release = posix.uname().release.split(".")
    digits = "".join(character for character in release[1] if character.isdigit()) if len(release) > 1 else ""
    if not release[0].isdigit() or (int(release[0]), int(digits or 0)) < (6, 15):
        raise OSError(0, f"Linux {'.'.join(release[:2])} is older than 6.15")
    pidfd = posix.pidfd_open(posix.getpid())
    try:
        read_info(pidfd)
        is_released(pidfd)
        pidfd_send_signal(pidfd, 0)
        try:
            pidfd_send_signal(pidfd, 0, None, PIDFD_SIGNAL_PROCESS_GROUP)
        except ProcessLookupError:
            pass  # ESRCH: pyinit leads no group; EINVAL would mean that the kernel lacks the flag
    finally:
        posix.close(pidfd)


def is_released(pidfd: int) -> bool:
    """Return whether the process has been released (POLLHUP), so that its exit code can be read. Raises OSError."""
    watched = select.poll()
    watched.register(pidfd, 0)
    return bool(watched.poll(0))


def read_info(pidfd: int) -> bytearray:
    """Ask the kernel for a process's struct pidfd_info, which has its exit code if it has ended. Raises OSError."""
    info = bytearray(INFO_SIZE)
    info[:8] = PIDFD_INFO_EXIT.to_bytes(8, sys.byteorder)
    fcntl.ioctl(pidfd, PIDFD_GET_INFO, info)
    return info


def open_signalfd() -> int:
    """Return a descriptor from which the signals of WAITED are read. Raises OSError."""
    mask = 0
    for number in WAITED:
        mask |= 1 << number - 1
    signalfd = _ctypes.dlsym(_ctypes.dlopen(None, 0), "signalfd")
    descriptor = _ctypes.call_function(signalfd, (-1, mask.to_bytes(8, sys.byteorder) + bytes(SIGSET_SIZE - 8),
                                                  SFD_CLOEXEC | SFD_NONBLOCK))
    if descriptor < 0:
        raise OSError(0, "signalfd(2) was refused")
    return descriptor
