"""The main child: it must not be able to tell that Python ran before it.

Rejected: posix_spawn(3). It is 0.5 ms faster than fork(2) and execve(2), but glibc's leaves signals 32 and 33 ignored in
the child, it cannot hand over the terminal before the program runs, nor leave SIGCHLD ignored.
"""

from __future__ import annotations

import posix

from .log import Log
from .signals import EntryState, block_signals

# errno values, from errno(3): the module `errno` is one import more.
ENOENT, EAGAIN, ENOMEM, EACCES, ENODEV, ENOTDIR, EISDIR, ENFILE, EMFILE = 2, 11, 12, 13, 19, 20, 21, 23, 24
ENOEXEC, ETIMEDOUT, ESTALE = 8, 110, 116

NOT_FOUND = (ENOENT, ENOTDIR)
NO_RESOURCES = (EAGAIN, ENOMEM, ENFILE, EMFILE)
# execvp(3): what says only that the program is not in this folder of PATH.
NOT_HERE = (ENOENT, ENOTDIR, ESTALE, ENODEV, ETIMEDOUT)

# What CPython may have set LC_CTYPE to, PEP 538.
COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")


def restore_environment(log: Log) -> None:
    """Undo the one change that CPython makes to the environment: LC_CTYPE under a C locale, PEP 538, also with -I.

    What execve(2) was given stands in /proc/self/environ, proc(5). The C library's block is changed in place, so that
    order, doubles and entries without `=` stay as they were.
    """
    if posix.environ.get(b"LC_CTYPE") not in COERCED:
        return
    try:
        entries = read_file("/proc/self/environ").split(b"\0")
    except OSError as error:
        log.warn(f"cannot read /proc/self/environ ({error.strerror}): LC_CTYPE, which CPython may have set, is left")
        return
    for entry in entries:
        if entry.startswith(b"LC_CTYPE="):
            posix.putenv(b"LC_CTYPE", entry[9:])
            return
    posix.unsetenv(b"LC_CTYPE")


def read_file(path: str) -> bytes:
    """The whole of a file, unbuffered. Raises OSError."""
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        content = b""
        while True:
            piece = posix.read(descriptor, 1 << 16)
            if not piece:
                return content
            content += piece
    finally:
        posix.close(descriptor)


def holds_terminal() -> bool:
    """Whether stdin is the controlling terminal and pyinit's process group is its foreground process group."""
    try:
        if posix.tcgetpgrp(0) != posix.getpgrp():
            return False
        # Both are 0 when they are of an outer PID namespace, pid_namespaces(7), the same group or not. The kernel
        # itself tells: a read from the background, with SIGTTIN blocked, fails with EIO, setpgid(2); and a read of
        # nothing takes nothing.
        posix.read(0, 0)
    except OSError:  # ENOTTY, EBADF, EIO
        return False
    return True


def spawn(command: list[str], entry: EntryState, log: Log, terminal: bool) -> int:
    """Start `command` in a process group of its own, in the foreground if `terminal`; return its PID.

    Raises OSError when fork(2) is refused. What execve(2) refuses is the child's to say: it exits 127, 126 or 1.
    """
    argv = [argument.encode("utf-8", "surrogateescape") for argument in command]
    pid = posix.fork()
    if pid == 0:
        code = 1
        try:
            become_main_child(entry, terminal)
            code = execute(argv, log)
        except BaseException as error:
            block_signals()
            log.fatal(f"cannot run '{command[0]}': {error!r}")
        finally:
            posix._exit(code)
    # From both sides, setpgid(2): a signal for the group may have to be forwarded before the child has run at all.
    try:
        posix.setpgid(pid, pid)
    except OSError:
        pass  # EACCES: it has executed its program, so it has set the group itself; ESRCH: it has gone
    return pid


def become_main_child(entry: EntryState, terminal: bool) -> None:
    """In the child: its process group, the terminal, and the signal state that pyinit was started with."""
    posix.setpgid(0, 0)
    if terminal:
        try:
            posix.tcsetpgrp(0, posix.getpid())  # from the background, which SIGTTOU, blocked, allows: tcsetpgrp(3)
        except OSError:
            pass  # the terminal was hung up
    entry.restore()


def execute(argv: list[bytes], log: Log) -> int:
    """Become the program, as execvp(3) finds it. Returns only if that fails: the exit code, after a message."""
    name = argv[0]
    error = try_execute(argv)
    # SIGPIPE has its default disposition now: a message to a broken stderr would kill, and hide the exit code.
    block_signals()
    reason = error.strerror
    if error.errno == ENOENT and b"/" in name and posix.access(name, posix.F_OK):
        reason += " (the file is there: its interpreter or loader is not)"
    elif error.errno == EACCES and is_folder(name):
        reason = posix.strerror(EISDIR)
    log.fatal("cannot run '%s': %s" % (name.decode("utf-8", "surrogateescape"), reason))
    if error.errno in NO_RESOURCES:
        return 1
    return 127 if error.errno in NOT_FOUND else 126


def try_execute(argv: list[bytes]) -> OSError:
    """execvp(3): the program by its path, or from the folders of PATH; return the error that counts."""
    name = argv[0]
    if b"/" in name:
        return execute_file(name, argv)
    result = OSError(ENOENT, posix.strerror(ENOENT))
    for folder in posix.environ.get(b"PATH", b"/bin:/usr/bin").split(b":") if name else ():
        error = execute_file(folder + b"/" + name if folder else name, argv)
        if error.errno == EACCES:
            result = error  # there may be one further on that may be executed
        elif error.errno not in NOT_HERE:
            return error
    return result


def execute_file(path: bytes, argv: list[bytes]) -> OSError:
    """execve(2) with the environment as it is; a script without #! goes to the shell, as in execvp(3)."""
    try:
        posix.execv(path, argv)
    except OSError as error:
        if error.errno != ENOEXEC or is_binary(path):
            return error
        unexecutable = error  # Python unbinds `error` here
    try:
        posix.execv(b"/bin/sh", [b"/bin/sh", path, *argv[1:]])
    except OSError:
        pass
    return unexecutable


def is_binary(path: bytes) -> bool:
    """Whether a file that the kernel cannot execute is no script either: a program for another machine, mostly."""
    try:
        descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
        return b"\0" in posix.read(descriptor, 256)
    except OSError:  # executable and not readable: the shell cannot read it either
        return True


def is_folder(path: bytes) -> bool:
    """Whether the path is a directory, which execve(2) refuses with EACCES."""
    try:
        posix.close(posix.open(path, posix.O_PATH | posix.O_DIRECTORY | posix.O_CLOEXEC))
    except OSError:
        return False
    return True
