"""Numbers of the kernel's interface that are the same on each machine of the lean programs."""

from __future__ import annotations

# signal(7): <asm-generic/signal.h>, arch/x86/include/uapi/asm/signal.h
SIGINT, SIGTRAP, SIGPIPE, SIGTERM, SIGCHLD, SIGCONT, SIGSTOP = 2, 5, 13, 15, 17, 18, 19
SIGTTOU, SIGXFSZ = 22, 25
SIG_BLOCK, SIG_SETMASK = 0, 2  # <asm-generic/signal-defs.h>
SIG_IGN = 1
SIGSET_SIZE = 8  # sizeof(sigset_t) of the kernel, 64 signals; not that of a C library

# errno(3): <asm-generic/errno-base.h>, <asm-generic/errno.h>; a system call returns it negated, syscall(2)
ENOENT, ESRCH, EINTR, EIO, ENOEXEC, EAGAIN, ENOMEM, EACCES = 2, 3, 4, 5, 8, 11, 12, 13
EEXIST, ENODEV, ENOTDIR, ENFILE, EMFILE, ENOSPC, ENAMETOOLONG, ELOOP = 17, 19, 20, 23, 24, 28, 36, 40
ETIMEDOUT, ESTALE = 110, 116

# wait(2): <linux/wait.h>. Without __WALL, the kernel passes over a child of clone(2) whose exit signal is not SIGCHLD.
# With __WALL, it ignores __WCLONE, which makes the flags an operand that fits into one instruction of aarch64.
WNOHANG, WUNTRACED, WALL, WCLONE = 1, 2, 0x40000000, 0x80000000

STDIN, STDOUT, STDERR = 0, 1, 2  # stdin(3)
PATH_MAX, NAME_MAX = 4096, 255  # <linux/limits.h>
TIOCGPGRP, TIOCSPGRP = 0x540F, 0x5410  # tty_ioctl(4): <asm-generic/ioctls.h>
PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
PTRACE_DETACH = 17  # ptrace(2)
SEEK_END = 2  # lseek(2)
AT_EXECFN = 31  # getauxval(3): <linux/auxvec.h>
AT_FDCWD = -100  # openat(2), and <asm-generic/fcntl.h>
O_RDONLY, O_WRONLY, O_CREAT, O_EXCL, O_NOCTTY, O_NONBLOCK, O_CLOEXEC = 0, 1, 0o100, 0o200, 0o400, 0o4000, 0o2000000


def sigset(*numbers: int) -> bytes:
    """Return the kernel's sigset_t with these signals."""
    return sum(1 << number - 1 for number in numbers).to_bytes(SIGSET_SIZE, "little")
