"""Write a line that may have no reader, and never raise or block; loaded with the first message.

poll(2) is not enough: POLLOUT does not guarantee that the whole line fits, and others write to the same pipe. The
descriptor cannot be made non-blocking, because the main child has the same one. So pyinit writes the line through its
own open file description.
"""

from __future__ import annotations

import _signal
import posix

EFBIG = 27  # errno(3)
RWF_NOWAIT = 8  # pwritev2(2), <linux/fs.h>; CPython has it for reading only
PTMX = 5 << 8 | 2  # opening /dev/ptmx makes another terminal, pts(4)
S_IFMT, S_IFIFO, S_IFCHR, S_IFREG = 0o170000, 0o010000, 0o020000, 0o100000  # inode(7)


def write_line(text: str, descriptor: int = 2) -> None:
    """Write one line, or drop it if it cannot be written at once: a full pipe must not stop the reaping."""
    try:
        content = text.encode("utf-8", "surrogateescape") + b"\n"
        status = posix.fstat(descriptor)
        kind = status.st_mode & S_IFMT
        if kind == S_IFREG:
            posix.write(descriptor, content)
        elif kind not in (S_IFIFO, S_IFCHR) or status.st_rdev == PTMX or not write_reopened(descriptor, content):
            write_shared(descriptor, content)
    except BaseException as error:
        consume_own_signal(error)


def write_reopened(descriptor: int, content: bytes) -> bool:
    """Write to a pipe or a device through a non-blocking description. Return False if it cannot be opened again."""
    try:
        flags = posix.O_WRONLY | posix.O_NONBLOCK | posix.O_NOCTTY | posix.O_CLOEXEC
        own = posix.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:  # no /proc; a pipe of another user; ENXIO: it has no reader
        return False
    try:
        posix.write(own, content)
    except BlockingIOError:
        pass
    finally:
        posix.close(own)
    return True


def write_shared(descriptor: int, content: bytes) -> None:
    """Write through the shared description: without waiting to a pipe or a socket, Linux 6.4; else if poll(2) reports
    that it can be written to. A CPython that was built without pwritev2(2) raises NotImplementedError for the flag.
    """
    try:
        posix.pwritev(descriptor, [content], -1, RWF_NOWAIT)
    except BlockingIOError:
        pass
    except (OSError, AttributeError, NotImplementedError) as error:
        if isinstance(error, BrokenPipeError):
            raise
        import select

        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if poll.poll(0):
            posix.write(descriptor, content)


def consume_own_signal(error: BaseException) -> None:
    """Take the SIGPIPE or SIGXFSZ that a failed write of pyinit has raised, write(2).

    It is blocked, so it stays pending, and the loop would forward it to the main child as if another process had sent
    it. It is directed at this thread, so it is taken before one that was sent to the process, signal(7).
    """
    raised = isinstance(error, BrokenPipeError) and _signal.SIGPIPE
    if isinstance(error, OSError) and error.errno == EFBIG:
        raised = _signal.SIGXFSZ
    if raised:
        try:
            _signal.sigtimedwait((raised,), 0)
        except BaseException:
            pass  # nothing may be raised by a message
