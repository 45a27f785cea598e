"""Start the main child. It must not be able to notice that Python ran before it.

Rejected: posix_spawn(3). It is 0.5 ms faster than fork(2) and execve(2), but glibc's leaves signals 32 and 33 ignored
in the child, and it can neither hand over the terminal before the program runs nor leave SIGCHLD ignored.
"""

from __future__ import annotations

import posix

from ..linux.files import read_file
from ..log import FATAL, WARNING, Log
from ..options import Options
from ..linux.signals import EntryState, block_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from ..linux.note import Note

# errno values, from errno(3): the module `errno` would be one more import.
ENOENT, EAGAIN, ENOMEM, EACCES, ENODEV, ENOTDIR, ENFILE, EMFILE = 2, 11, 12, 13, 19, 20, 23, 24
ENOEXEC, ETIMEDOUT, ESTALE = 8, 110, 116

NOT_FOUND = (ENOENT, ENOTDIR)
NO_RESOURCES = (EAGAIN, ENOMEM, ENFILE, EMFILE)
# execvp(3): errors that only say that the program is not in this folder of PATH.
NOT_HERE = (ENOENT, ENOTDIR, ESTALE, ENODEV, ETIMEDOUT)

PATH_MAX = 4096  # <linux/limits.h>

# The values that CPython may have set LC_CTYPE to, PEP 538, and the variable that it removes.
COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")
REMOVED = b"__PYVENV_LAUNCHER__="


def restore_environment(note: Optional[Note], log: Log) -> None:
    """Undo the two changes that CPython makes to the environment, also with -I: it may set LC_CTYPE under a C locale,
    PEP 538, and from 3.11 on it removes __PYVENV_LAUNCHER__, Modules/getpath.c.

    The note, or else /proc/self/environ, proc(5), has what execve(2) was given. The C library's block is changed in
    place, so that order, duplicates and entries without `=` stay as they were.
    """
    locale = posix.environ.get(b"LC_CTYPE")
    if note:
        restore_locale(locale, note.locale)
        if note.launcher is not None and REMOVED[:-1] not in posix.environ:
            from .environment import restore_removed, recover_entries

            restore_removed(recover_entries(note, REMOVED[:-1]), REMOVED[:-1])
        return
    try:
        given = read_file("/proc/self/environ")
    except OSError as error:
        if locale in COERCED:
            log.tell(WARNING, "environment_unknown", error.strerror)
        return
    if locale in COERCED:
        values = [entry[9:] for entry in given.split(b"\0") if entry.startswith(b"LC_CTYPE=")]
        restore_locale(locale, values[0] if values else None)
    if REMOVED in given and REMOVED[:-1] not in posix.environ:
        from .environment import restore_removed

        restore_removed(given.split(b"\0")[:-1], REMOVED[:-1])


def restore_locale(now: Optional[bytes], given: Optional[bytes]) -> None:
    """Change LC_CTYPE from its value `now` back to `given`. None means that it is not set."""
    if given is None and now is not None:
        posix.unsetenv(b"LC_CTYPE")
    elif given is not None and given != now:
        posix.putenv(b"LC_CTYPE", given)


def spawn(options: Options, entry: EntryState, log: Log, terminal: bool) -> int:
    """Start the main child as the options want it, in the foreground if `terminal`; return its PID.

    Raises OSError if fork(2) is refused. If execve(2) fails, the child reports the error and exits with one of
    options.exit_codes.
    """
    argv = [argument.encode("utf-8", "surrogateescape") for argument in options.command]
    if options.isolation == "session":
        from .session import start_session  # before the fork: after it, nothing should be able to fail
    parent = posix.getpid()
    pid = posix.fork()
    if pid == 0:
        code = 1
        try:
            if options.isolation == "session":
                start_session()
            elif options.isolation:
                start_group(terminal)
            if options.update_listen_pid and posix.environ.get(b"LISTEN_PID") == b"%d" % parent:
                posix.putenv(b"LISTEN_PID", b"%d" % posix.getpid())
            entry.restore() if options.keep_signal_state else entry.reset()
            code = execute(argv, options.exit_codes, log)
        except BaseException as error:
            block_signals()
            log.tell(FATAL, "not_executed", options.command[0], repr(error))
        finally:
            posix._exit(code)
    if options.isolation == "group":
        # Parent and child both call setpgid(2): a signal for the group may have to be forwarded before the child runs.
        try:
            posix.setpgid(pid, pid)
        except OSError:
            pass  # EACCES: it has executed its program, so it has set the group itself; ESRCH: it has ended
    return pid


def start_group(terminal: bool) -> None:
    """In the main child: lead a process group, which gets the terminal if `terminal`."""
    posix.setpgid(0, 0)
    if terminal:
        try:
            posix.tcsetpgrp(0, posix.getpid())  # from the background: a blocked SIGTTOU allows it, tcsetpgrp(3)
        except OSError:
            pass  # the terminal was hung up


def execute(argv: list[bytes], exit_codes: tuple[int, int, int], log: Log) -> int:
    """Execute the program that execvp(3) would find. If that fails, log why and return the exit code."""
    name = argv[0]
    error = try_execute(argv)
    # SIGPIPE has its default disposition now: a message to a broken stderr would kill, and hide the exit code.
    block_signals()
    from .exec_errors import explain

    log.tell(FATAL, "not_executed", name.decode("utf-8", "surrogateescape"), explain(error, name))
    not_found, not_executable, other = exit_codes
    if error.errno in NO_RESOURCES:
        return other
    return not_found if error.errno in NOT_FOUND else not_executable


def try_execute(argv: list[bytes]) -> OSError:
    """Execute a program by its path, or from the folders of PATH, as execvp(3) does; return the error that counts."""
    name = argv[0]
    if b"/" in name:
        return execute_file(name, argv)
    result = OSError(ENOENT, posix.strerror(ENOENT))
    for folder in posix.environ.get(b"PATH", b"/bin:/usr/bin").split(b":") if name else ():
        if len(folder) >= PATH_MAX:
            continue
        error = execute_file(folder + b"/" + name if folder else name, argv)
        if error.errno == EACCES:
            result = error  # a later folder may have one that can be executed
        elif error.errno not in NOT_HERE:
            return error
    return result


def execute_file(path: bytes, argv: list[bytes]) -> OSError:
    """Execute a file with the environment as it is, a script without #! by the shell, as execvp(3) does. Return the
    error.
    """
    try:
        posix.execv(path, argv)
    except OSError as error:
        if error.errno == ENOEXEC:
            from .exec_errors import execute_script

            execute_script(path, argv)
        return error
