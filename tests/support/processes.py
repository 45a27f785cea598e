"""Run programs as real processes: start each in its own session, read its output, and end it with its descendants."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple, Optional, TypedDict, Union

from support.proc import children_of, descendants, read_stat, session_members, waits_for_signals
from support.settings import DEADLINE, HELPER, ROOT
from support.waiting import wait_until

if TYPE_CHECKING:
    from typing_extensions import Unpack  # before Python 3.11 typing has none

# The types that Popen accepts: an argument, a whole command line, and a standard stream.
Argument = Union[str, bytes, "os.PathLike[str]"]
Command = Sequence[Argument]
Stream = Union[int, IO[bytes]]


class PopenOptions(TypedDict, total=False):
    """The options of subprocess.Popen that tests use."""

    stdin: Stream
    stdout: Stream
    stderr: Stream
    cwd: Union[str, os.PathLike[str]]
    env: Mapping[str, str]
    pass_fds: Collection[int]
    preexec_fn: Callable[[], object]


class Result(NamedTuple):
    """The exit code and output of a process that has ended; death by signal N is the code -N."""

    code: int
    out: bytes
    err: bytes


def python(code: str, *arguments: str) -> list[str]:
    """Return a command that runs Python code isolated and without site, which starts quickest."""
    return [HELPER, "-IS", "-c", code, *arguments]


def source(name: str) -> str:
    """Return the code of a helper program, to be run by its text: a user or a container may not reach its file."""
    return (ROOT / "tests" / "programs" / f"{name}.py").read_text()


def shell(script: str, *arguments: str) -> list[str]:
    """Return a command that runs a shell script."""
    return ["/bin/sh", "-c", script, "sh", *arguments]


def run(argv: Command, **popen: Unpack[PopenOptions]) -> Result:
    """Run a program in its own session to its end, and kill the processes that it leaves behind."""
    settings: PopenOptions = {"stdin": subprocess.DEVNULL, "stdout": tempfile.TemporaryFile(), **popen}
    with Running(argv, **settings) as running:
        return running.finish()


class Process(subprocess.Popen[bytes]):
    """A process whose end wait() notices at once: with a timeout, subprocess polls with pauses of up to 50 ms."""

    def wait(self, timeout: Optional[float] = None) -> int:
        """Wait for the end and return the exit code. Raises TimeoutExpired after `timeout` seconds."""
        if timeout is None or self.returncode is not None:
            return super().wait(timeout)
        end = time.monotonic() + timeout
        try:
            descriptor = os.pidfd_open(self.pid)
        except OSError:  # before Linux 5.3, or refused by a sandbox
            return super().wait(timeout)
        try:
            select.select([descriptor], [], [], timeout)  # readable once it has ended, pidfd_open(2)
        finally:
            os.close(descriptor)
        return super().wait(max(0, end - time.monotonic()))


class Running:
    """A program that runs in its own session. The end of a `with` kills the processes that are left in that session.

    It also kills those in sessions that were made below the program, if their processes are still below it or
    note_sessions() has noted the sessions.

    stdin and stdout are pipes. stderr is a file, so that the test need not read it while the program runs.
    """

    def __init__(self, argv: Command, mode: str = "", **popen: Unpack[PopenOptions]) -> None:
        self.mode = mode
        settings: PopenOptions = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE,
                                  "stderr": tempfile.TemporaryFile(), "cwd": ROOT, **popen}
        self.output, self.error = settings["stdout"], settings["stderr"]
        self.process = Process(argv, bufsize=0, start_new_session=True, **settings)
        self.unread = b""
        self.sessions = {self.process.pid}

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.note_sessions()
            self.process.kill()
        for session in self.sessions:
            kill_session(session)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.output, self.error):
            if stream and not isinstance(stream, int):
                stream.close()

    @property
    def pid(self) -> int:
        """pyinit's PID on this machine."""
        if self.mode != "pid1":
            return self.process.pid
        wait_until(lambda: children_of(self.process.pid) or self.process.poll() is not None, "pyinit to be PID 1")
        return children_of(self.process.pid)[0]

    @property
    def main_child(self) -> int:
        """The main child's PID on this machine: pyinit's first child."""
        pid = self.pid
        wait_until(lambda: children_of(pid), "the main child")
        return children_of(pid)[0]

    def note_sessions(self) -> None:
        """Note the sessions of all processes below the program: once it has ended, its orphans are no longer below it.

        It does nothing in mode "pid1": the kernel ends the whole PID namespace, and a process that nsenter(1) has put
        into it may be in the session of an unrelated program.
        """
        if self.mode != "pid1":
            stats = map(read_stat, descendants(self.process.pid))
            self.sessions |= {int(stat[3]) for stat in stats if stat} - {os.getsid(0)}

    def send(self, number: int) -> None:
        """Send pyinit a signal."""
        os.kill(self.pid, number)

    def write(self, content: bytes) -> None:
        """Write to the program's stdin."""
        assert self.process.stdin, "stdin is not a pipe"
        self.process.stdin.write(content)

    def read_line(self) -> str:
        """Return the next line that the program prints, without its newline; fail at the deadline or at end of file."""
        assert self.process.stdout, "stdout is not a pipe"
        end = time.monotonic() + DEADLINE
        while b"\n" not in self.unread:
            if not select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no line in {DEADLINE} s, but {self.unread!r}; stderr: {self.read_error()!r}")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                raise AssertionError(f"no line, but the end after {self.unread!r}; stderr: {self.read_error()!r}")
            self.unread += piece
        line, self.unread = self.unread.split(b"\n", 1)
        return line.decode()

    def expect(self, line: str) -> None:
        """Read one line and check that it is this one."""
        assert self.read_line() == line

    def read_error(self) -> bytes:
        """Return what the program has written to stderr, or b"" if stderr is not a file."""
        if isinstance(self.error, int):
            return b""
        return read_all(self.error)

    def finish(self) -> Result:
        """Close stdin, wait for the end, and return the exit code and output. Check that no message is a traceback."""
        if self.process.stdin:
            self.process.stdin.close()
        code = self.process.wait(DEADLINE)
        out = self.unread
        if not isinstance(self.output, int):
            out = read_all(self.output)
        elif self.process.stdout:
            # While orphans hold the pipe open it has no end of file: read only what has been written.
            while select.select([self.process.stdout], [], [], 0)[0]:
                piece = os.read(self.process.stdout.fileno(), 65536)
                out += piece
                if not piece:
                    break
        error = self.read_error()
        check_messages(error)
        return Result(code, out, error)


def read_all(file: IO[bytes]) -> bytes:
    """Return the content of a file to which a program may still write.

    Its descriptor and the program's share one offset, open(2): lseek(2) would have the program overwrite its output.
    """
    descriptor = file.fileno()
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def check_messages(text: bytes) -> None:
    """Check that a program has written no traceback."""
    for word in (b"Traceback", b"Fatal Python", b"Exception ignored", b"KeyboardInterrupt"):
        assert word not in text, text.decode(errors="replace")


def kill_session(session: int) -> None:
    """Kill every process of a session until none is alive, also those that are forked in the meantime."""
    def kill_members() -> bool:
        left = session_members(session)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left

    wait_until(kill_members, f"session {session} to end")


def start_pause(argv: Command, mode: str = "", **popen: Unpack[PopenOptions]) -> Running:
    """Start a pause and wait until it waits for signals."""
    running = Running(argv, mode, **popen)
    try:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
    except BaseException:
        running.__exit__()
        raise
    return running
