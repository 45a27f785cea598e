"""Prepare the bundle of a container that starts, then execute the real runtime in any case."""

from __future__ import annotations

import posix
import sys
import _signal

from .arguments import Call, parse
from .odd import Odd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

NAME = "pyinit-runtime"
COERCED = (b"C.UTF-8", b"C.utf8", b"UTF-8")  # what CPython may have set LC_CTYPE to, PEP 538


def main(runtime: str, init: str, only_annotated: bool) -> NoReturn:
    """Do what the command line of this process asks for. The arguments are the settings of the installation."""
    # CPython catches SIGINT unless it was ignored. The real runtime would end, so this process must end, too.
    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, 0)  # SIG_DFL
    call = Call()
    try:
        call = parse(sys.argv[1:])
        if call.starts:
            from .config_file import prepare

            reason = prepare(call, init, only_annotated)
            if reason and call.debug:
                report(call, "debug", f"no init for this container: {reason}")
        elif not call.is_known():
            report(call, "warning", f"{call.name!r} is no call that is known here; passed on as it is")
    except Exception as error:
        report(call, "warning", f"the container starts without an init: {explain(error)}")
    execute(runtime, call)


def explain(error: Exception) -> str:
    """Return an error as text."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) if isinstance(error, Odd) else repr(error)


def report(call: Call, level: str, message: str) -> None:
    """Write a line to the runtime's log, and to stderr if there is no log or stderr is a terminal. Best effort."""
    from time import gmtime, strftime

    from .log_line import format_line

    line = format_line(level, f"{NAME}: {message}", strftime("%Y-%m-%dT%H:%M:%SZ", gmtime()), call.json)
    content = line.encode("utf-8", "surrogateescape")
    # If an engine calls, stderr is often that of the container: a line there would be part of its output.
    if not call.log or posix.isatty(2):
        write(2, content)
    if call.log:
        try:
            # A FIFO without a reader must not hold up a container.
            log = posix.open(call.log, posix.O_WRONLY | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
                             | posix.O_NONBLOCK, 0o644)
        except (OSError, ValueError):
            return
        write(log, content)
        posix.close(log)


def write(descriptor: int, content: bytes) -> None:
    """Write if possible. A failure has no effect: CPython ignores SIGPIPE."""
    try:
        posix.write(descriptor, content)
    except OSError:
        pass


def execute(runtime: str, call: Call) -> NoReturn:
    """Execute the real runtime with the arguments, environment and signal state that this process was started with."""
    restore_locale()
    # CPython has set both to ignored. execve(2) would pass that on, in the end to the container's program.
    _signal.signal(_signal.SIGPIPE, 0)
    _signal.signal(_signal.SIGXFSZ, 0)
    try:
        posix.execv(runtime, [runtime, *sys.argv[1:]])
    except OSError as error:
        _signal.signal(_signal.SIGPIPE, 1)  # SIG_IGN
        report(call, "error", f"cannot execute {runtime}: {error.strerror}; expected the real runtime")
        posix._exit(1)


def restore_locale() -> None:
    """Undo what CPython makes of LC_CTYPE under a C locale. What execve(2) was given is in /proc/self/environ."""
    if posix.environ.get(b"LC_CTYPE") not in COERCED:
        return
    from ..linux.files import read_file

    try:
        given = read_file("/proc/self/environ").split(b"\0")
    except OSError:
        return
    for entry in given:
        if entry.startswith(b"LC_CTYPE="):
            posix.putenv(b"LC_CTYPE", entry[9:])
            return
    posix.unsetenv(b"LC_CTYPE")
