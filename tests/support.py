"""What the tests share: pyinit as a real process in one of its modes, children that say when they are ready, /proc."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import pytest

ROOT = Path(__file__).resolve().parent.parent
# The interpreter under test, and the one that the helpers below run in: without a virtual environment's slow start.
PYTHON = os.environ.get("PYINIT_TEST_PYTHON", sys.executable)
HELPER = getattr(sys, "_base_executable", sys.executable)

# How long anything may take before a test gives it up: for a loaded machine; no test measures time.
DEADLINE = 30.0

# A new PID namespace with its own /proc; whoever is not root needs a user namespace for it, unshare(1). If unshare
# is killed, its child is as well, and with PID 1 the kernel kills the whole namespace, pid_namespaces(7).
NAMESPACE = ["/usr/bin/unshare", "--pid", "--fork", "--mount-proc", "--kill-child",
             *(["--user", "--map-root-user"] if os.geteuid() else [])]

# What pyinit cannot forward: not sent to a process at all, the C library's own, and about its own children.
NOT_FORWARDED = {signal.SIGKILL, signal.SIGSTOP, 32, 33, signal.SIGCHLD}
FORWARDED = [number for number in range(1, 65) if number not in NOT_FORWARDED]

# Runs a command and waits for nothing but that: adopts orphans, as pyinit does, and leaves them zombies. What it does
# must fail the tests of the reaping.
STAND_IN = """
import ctypes, os, sys
arguments = sys.argv[1:]
if "-s" in arguments[:arguments.index("--")]:
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
command = arguments[arguments.index("--") + 1:]
child = os.posix_spawnp(command[0], command, os.environ)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""

# Has two children that have ended and executes its argv: a shell might have reaped one of them before.
ZOMBIES_FIRST = """
import os, sys
for code in (4, 5):
    child = os.fork() or os._exit(code)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
os.execvp(sys.argv[1], sys.argv[1:])
"""

# Children whose exit signal is not SIGCHLD, and which waitpid(2) passes over unless it is asked for them. argv[1]: the
# number of clone(2).
CLONES = """
import ctypes, os, sys
def clone(number, act=lambda: None):
    child = ctypes.CDLL(None).syscall(int(sys.argv[1]), number, 0, 0, 0, 0)
    if child == 0:
        act()
        os._exit(0)
    return child
"""

# Executes argv with two of them that have ended, and two that end when it has been executed.
CLONES_FIRST = CLONES + """
for number in (0, 23):  # SIGURG
    os.waitid(os.P_PID, clone(number), os.WEXITED | os.WNOWAIT | 0x40000000)  # __WALL
try:
    os.waitpid(-1, os.WNOHANG)
except ChildProcessError:
    executed, hold = os.pipe()  # closed by execve(2)
    for number in (0, 23):
        clone(number, lambda: (os.close(hold), os.read(executed, 1)))
    os.execvp(sys.argv[2], sys.argv[2:])
"""

# Numbers of system calls, <asm/unistd.h>.
NUMBERS = {
    "x86_64": {"clone": 56, "execve": 59, "execveat": 322, "exit": 60, "ioctl": 16, "pidfd_send_signal": 424,
               "prctl": 157, "rt_sigtimedwait": 128, "seccomp": 317, "setpgid": 109, "setsid": 112, "wait4": 61},
    "aarch64": {"clone": 220, "execve": 221, "execveat": 281, "exit": 93, "ioctl": 29, "pidfd_send_signal": 424,
                "prctl": 167, "rt_sigtimedwait": 137, "seccomp": 277, "setpgid": 154, "setsid": 157, "wait4": 260},
}


class Result(NamedTuple):
    """What is left of a process that has ended; a death by signal N is the code -N."""

    code: int
    out: bytes
    err: bytes


def python(code: str, *arguments: str) -> list[str]:
    """A command that runs Python code, as bare and quick as there is."""
    return [HELPER, "-IS", "-c", code, *arguments]


def shell(script: str, *arguments: str) -> list[str]:
    """A command that runs a shell script."""
    return ["/bin/sh", "-c", script, "sh", *arguments]


class Init:
    """One way to run pyinit: a program, the mode in which it gets orphans, and what reaps them."""

    def __init__(self, mode: str, program: Sequence[str], reaper: str = "wait") -> None:
        self.mode = mode
        self.program = list(program)
        self.reaper = reaper

    def argv(self, command: Sequence, options: Sequence = (), inside: Sequence[str] = ()) -> list:
        """The whole command line. `inside` comes before pyinit in its namespace: `prlimit`, `setpriv`, `env`."""
        own = ["-s"] if self.mode == "subreaper" else []
        own += ["--reap", self.reaper] if self.reaper != "wait" else []
        return [*self.prefix(), *inside, *self.program, *own, *options, "--", *command]

    def prefix(self) -> list[str]:
        """What makes the program PID 1, or nothing."""
        return NAMESPACE if self.mode == "pid1" else []

    def run(self, command: Sequence, options: Sequence = (), inside: Sequence[str] = (), **popen) -> Result:
        """Run a command under pyinit to its end."""
        return run(self.argv(command, options, inside), **popen)

    def start(self, command: Sequence, options: Sequence = (), inside: Sequence[str] = (), **popen) -> Running:
        """Start a command under pyinit; use it in a `with`."""
        return Running(self.argv(command, options, inside), self.mode, **popen)


def run(argv: Sequence, **popen) -> Result:
    """Run a program in a session of its own to its end, and end whatever it leaves behind."""
    with Running(argv, "", **{"stdin": subprocess.DEVNULL, "stdout": tempfile.TemporaryFile(), **popen}) as running:
        return running.finish()


class Running:
    """A program that runs in a session of its own. The end of a `with` kills what is left of that session, and of the
    sessions made below the program, if their processes are still below it or the sessions have been noted.

    stdin and stdout are pipes, and stderr is a file, so that nobody has to read it while the program runs.
    """

    def __init__(self, argv: Sequence, mode: str = "", **popen) -> None:
        self.mode = mode
        self.error = popen.setdefault("stderr", tempfile.TemporaryFile())
        self.output = popen.get("stdout")
        settings = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "bufsize": 0, "cwd": ROOT,
                    "start_new_session": True, **popen}
        self.process = subprocess.Popen(argv, **settings)
        self.unread = b""
        self.sessions = {self.process.pid}

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_) -> None:
        if self.process.returncode is None:
            self.note_sessions()
            self.process.kill()
        for session in self.sessions:
            kill_session(session)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.output, self.error):
            if hasattr(stream, "close"):
                stream.close()

    @property
    def pid(self) -> int:
        """pyinit's own PID, as seen from here."""
        if self.mode != "pid1":
            return self.process.pid
        wait_until(lambda: children_of(self.process.pid) or self.process.poll() is not None, "pyinit to be PID 1")
        return children_of(self.process.pid)[0]

    @property
    def main_child(self) -> int:
        """The main child's PID, as seen from here: pyinit's first child."""
        pid = self.pid
        wait_until(lambda: children_of(pid), "the main child")
        return children_of(pid)[0]

    def note_sessions(self) -> None:
        """Note the sessions of all processes below the program: once it has ended, an orphan is no longer below it.

        A PID namespace ends as a whole, and what has been put into it, nsenter(1), may be of anybody's session.
        """
        if self.mode != "pid1":
            stats = map(read_stat, descendants(self.process.pid))
            self.sessions |= {int(stat[3]) for stat in stats if stat} - {os.getsid(0)}

    def send(self, number: int) -> None:
        """Send pyinit a signal."""
        os.kill(self.pid, number)

    def write(self, content: bytes) -> None:
        """Write to the program's stdin."""
        self.process.stdin.write(content)

    def read_line(self) -> str:
        """The next line that the program prints, without its end; fails at the deadline or when there is none."""
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
        """Read one line, which must be that one."""
        assert self.read_line() == line

    def read_error(self) -> bytes:
        """What is on stderr up to now, if that is a file."""
        if not hasattr(self.error, "seek"):
            return b""
        self.error.seek(0)
        return self.error.read()

    def finish(self) -> Result:
        """Close stdin, wait for the end, and return what is left. No message may ever be a traceback."""
        if self.process.stdin:
            self.process.stdin.close()
        code = self.process.wait(DEADLINE)
        out = self.unread
        if hasattr(self.output, "seek"):
            self.output.seek(0)
            out = self.output.read()
        elif self.process.stdout:
            # What orphans still hold open has no end: read what is there.
            while select.select([self.process.stdout], [], [], 0)[0]:
                piece = os.read(self.process.stdout.fileno(), 65536)
                out += piece
                if not piece:
                    break
        error = self.read_error()
        check_messages(error)
        return Result(code, out, error)


def check_messages(text: bytes) -> None:
    """No message may be a traceback, whatever happened."""
    for word in (b"Traceback", b"Fatal Python", b"Exception ignored", b"KeyboardInterrupt"):
        assert word not in text, text.decode(errors="replace")


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition of another process that nothing can announce; fail at the deadline."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {DEADLINE} s in vain for {what}")
        select.select([], [], [], 0.002)


def observe_for(seconds: float) -> None:
    """Let time pass where the claim is that nothing happens in it."""
    select.select([], [], [], seconds)


def read_stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on, proc(5): state, parent, process group, session, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def read_status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status, proc(5); none if there is no such process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def is_blocked(pid: int, number: int) -> bool:
    """Whether the process blocks the signal, or waits for signals: in sigwait(3) the kernel shows none as blocked."""
    return bool(int(read_status(pid).get("SigBlk", "0"), 16) >> (number - 1) & 1) or waits_for_signals(pid)


def waits_for_signals(pid: int) -> bool:
    """Whether the process sleeps in sigwait(3), as proc(5) wchan tells."""
    try:
        return "sigtimedwait" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False


def stop(pid: int) -> None:
    """Keep a process from running, until SIGCONT."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: read_stat(pid)[0] == "T", "it to stop")


def open_files(pid: int) -> dict[int, str]:
    """The descriptors of a process, and what they are of, proc(5)."""
    return {int(name): os.readlink(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")}


def process_ids() -> Iterable[int]:
    """Every process that /proc shows."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def children_of(pid: int) -> list[int]:
    """The children of a process's first thread, oldest first, zombies as well."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        if os.path.exists("/proc/self/task/self/children"):
            return []
        # A kernel without CONFIG_PROC_CHILDREN.
        return sorted(child for child in process_ids() if read_stat(child)[1:2] == [str(pid)])
    except ProcessLookupError:
        return []


def descendants(pid: int) -> list[int]:
    """Every process below one, zombies as well."""
    found = children_of(pid)
    for child in found:  # grows meanwhile
        found += children_of(child)
    return found


def zombies_of(pid: int) -> list[int]:
    """The children of a process that have exited and have not been reaped."""
    return [child for child in children_of(pid) if read_stat(child)[:1] == ["Z"]]


def kill_session(session: int) -> None:
    """Kill every process of a session until none is left that runs: also what has been forked meanwhile."""
    def members() -> list[int]:
        stats = ((pid, read_stat(pid)) for pid in process_ids())
        return [pid for pid, stat in stats if stat[3:4] == [str(session)] and stat[0] not in "ZX"]

    def kill_members() -> bool:
        left = members()
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left

    wait_until(kill_members, f"session {session} to end")


class Terminal:
    """A pseudo-terminal whose other end is a program's controlling terminal, pty(7)."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_) -> None:
        os.close(self.master)
        os.close(self.slave)

    def start(self, argv: Sequence, mode: str = "", controlling: bool = True, **popen) -> Running:
        """Start a program as the leader of a session; the terminal becomes that session's unless told otherwise."""
        return Running(argv, mode, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                       preexec_fn=(lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) if controlling else None, **popen)

    def type(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self.master, keys)

    def read_until(self, text: bytes) -> bytes:
        """Read up to a text that the program prints; return everything up to it, what was read before left out."""
        end = time.monotonic() + DEADLINE
        while text not in self.seen:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {text!r} in {DEADLINE} s, but {self.seen!r}")
            self.seen += os.read(self.master, 65536)
        before, _, self.seen = self.seen.partition(text)
        check_messages(before)
        return before + text

    def foreground(self) -> int:
        """The foreground process group, as seen from here."""
        return os.tcgetpgrp(self.master)


def emulate(machine: str) -> Optional[list[str]]:
    """What runs programs of a machine here, in front of their argv: nothing, or QEMU's user mode; None if it is not
    installed. QEMU ends a pause that is PID 1 on signals that the kernel would drop, as it catches them.
    """
    if os.uname().machine == machine:
        return []
    emulator = shutil.which(f"qemu-{machine}-static")
    return [emulator] if emulator else None


def refuse_call(number: int, error: int) -> None:
    """Have the kernel refuse a system call to this process and all that it starts, seccomp(2)."""
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
    """Holds each process that is about to make a system call until the test lets it go on, seccomp_unotify(2).

    Pass `install` as preexec_fn: the filter is for the program and all that it starts. Use it in a `with` around that
    of the program.
    """

    def __init__(self, call: str, arguments: dict[int, int]) -> None:
        """Only calls whose arguments of these positions have these values are held."""
        self.call = number_of(call)
        self.seccomp = number_of("seccomp")
        self.arguments = arguments
        self.here, self.there = socket.socketpair()
        self.listener = -1
        self.held = 0

    def __enter__(self) -> HeldCall:
        return self

    def __exit__(self, *_) -> None:
        self.here.close()
        self.there.close()
        if self.listener >= 0:
            os.close(self.listener)

    def install(self) -> None:
        """In the child: install the filter, and hand its listener to the test."""
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

    def wait(self) -> int:
        """Wait for a process to make the call; return its PID."""
        if self.listener < 0:
            self.here.settimeout(DEADLINE)
            self.listener, = socket.recv_fds(self.here, 1, 1)[1]
        assert select.select([self.listener], [], [], DEADLINE)[0], "no process has made the call"
        notification = bytearray(80)  # struct seccomp_notif
        fcntl.ioctl(self.listener, 0xC0502100, notification)  # SECCOMP_IOCTL_NOTIF_RECV
        self.held, pid = struct.unpack_from("QI", notification)
        return pid

    def release(self) -> None:
        """Let the process go on with the call."""
        answer = bytearray(struct.pack("QqiI", self.held, 0, 0, 1))  # SECCOMP_USER_NOTIF_FLAG_CONTINUE
        fcntl.ioctl(self.listener, 0xC0182101, answer)  # SECCOMP_IOCTL_NOTIF_SEND


def start_pause(argv: list[str], mode: str = "", **popen) -> Running:
    """Start a pause and wait until it waits."""
    running = Running(argv, mode, **popen)
    try:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
    except BaseException:
        running.__exit__()
        raise
    return running


def number_of(call: str) -> int:
    """The number of a system call on this machine; skips the test where that is not known."""
    if os.uname().machine not in NUMBERS:
        pytest.skip(f"the number of {call}(2) on {os.uname().machine} is not known here")
    return NUMBERS[os.uname().machine][call]


def kernel_can_reap() -> bool:
    """Whether a pidfd tells how its process ended, which `--reap kernel` needs: Linux 6.15."""
    major, minor = re.findall(r"\d+", os.uname().release)[:2]
    return (int(major), int(minor)) >= (6, 15)


def find_pythons() -> dict[str, str]:
    """Every CPython from 3.9 on that is on the machine: version to path, one for each version."""
    found: dict[str, str] = {}
    for path in ["/usr/bin/python3", *map(str, sorted(Path.home().glob(".pyenv/versions/3.*/bin/python3")))]:
        version = version_of(path)
        if version and tuple(map(int, version.split(".")[:2])) >= (3, 9):
            found.setdefault(version, path)
    return found


def version_of(path: str) -> Optional[str]:
    """The version of an interpreter, None if it is none."""
    try:
        return subprocess.run([path, "-ISc", "import sys; print('%d.%d.%d' % sys.version_info[:3])"], text=True,
                              capture_output=True, timeout=DEADLINE, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


# Leaves orphans and says "done" when all have exited; then waits for its stdin. Each orphan, and each parent of one,
# holds the write end of a pipe: its end of file is the end of them all.
SCENE = """
import os, sys
count = int(sys.argv[1])
alive, hold = os.pipe()
start, go = os.pipe()

def orphan(act=lambda: None):
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            act()
        os._exit(0)
    os.waitpid(parent, 0)

def main():
    {body}

main()
os.close(hold)
os.close(go)
os.read(alive, 1)
os.write(1, b"done\\n")
os.read(0, 1)
os._exit(57)
"""


def scene(body: str, count: int) -> list[str]:
    """A main child that leaves `count` orphans in the way that the body says."""
    return python(SCENE.replace("{body}", body.strip().replace("\n", "\n    ")), str(count))


# Exiting one by one; so, but not before a byte comes; all in the instant in which the main child closes its end of a
# pipe.
ONE_BY_ONE = "for _ in range(count): orphan()"
ON_DEMAND = f"os.write(1, b'ready\\n')\nos.read(0, 1)\n{ONE_BY_ONE}"
TOGETHER = "for _ in range(count): orphan(lambda: (os.close(go), os.read(start, 1)))"


def reap_all(init: Init, command: list[str], count: int) -> None:
    """Run a scene: pyinit reaps each orphan and is left with the main child alone, whose exit code is its own.

    Only the waitpid loop sees them, and tells with -w how many there were.
    """
    loop = init.reaper == "wait"
    with init.start(command, ["-w"] if loop else []) as running:
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        result = running.finish()
        assert (result.code, result.err.count(b"reaped zombie process with PID")) == (57, count if loop else 0)
        assert loop or result.err == b""


def end_with_orphans(running: Running, pid: int, count: int) -> None:
    """Have a main child, which waits to make orphans, make them and end, all of it while pyinit is kept from running:
    to pyinit these are zombies of one moment, and the main child, its oldest child, is the first of them.
    """
    stop(pid)
    running.write(b"\n")
    running.expect("done")
    running.write(b"\n")
    wait_until(lambda: len(zombies_of(pid)) == 1 + count, "all to have ended")
    os.kill(pid, signal.SIGCONT)


def leave_all(stand_in: Init, command: list[str], count: int) -> None:
    """Run a scene under what does not reap: each orphan stays a zombie, so the scene tests something."""
    with stand_in.start(command) as running:
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(zombies_of(pid)) == count, f"{count} zombies")
        assert running.finish().code == 57


# Makes an orphan for each byte read, exits with 23 at the end of file, and says what signals it gets. By way of a pipe:
# a Python handler does not run in a read that begins in the instant in which the signal comes.
WORKER = """
import os, select, signal
woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # CPython ignores both; they must not come from pyinit
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
os.write(1, b"ready\\n")
while True:
    if woken in select.select([0, woken], [], [])[0]:
        os.read(woken, 1)
        os.write(1, b"signal\\n")
        continue
    if not os.read(0, 1):
        os._exit(23)
    parent = os.fork()
    if parent == 0:
        os.fork()
        os._exit(0)
    status = os.waitpid(parent, 0)[1]
    os.write(1, b"failed\\n" if status else b"made\\n")
"""


def use(running: Running, orphans: int = 10) -> None:
    """A worker's orphans are reaped, its signals arrive, and its exit code is its own."""
    pid = running.pid
    for number in range(1, orphans + 1):
        running.write(b"x")
        running.expect("made")
        if number % 10 == 0:  # no limit is so low
            wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
    running.send(signal.SIGUSR1)
    running.expect("signal")
    assert running.finish().code == 23


class LeanInit(Init):
    """A lean init for some machine: it knows -g and -s, and tells nobody what it reaps."""

    def __init__(self, mode: str, program: Sequence[str]) -> None:
        super().__init__(mode, program, "lean")

    def argv(self, command: Sequence, options: Sequence = (), inside: Sequence[str] = ()) -> list:
        """The whole command line, without the options that it does not have."""
        own = ["-s"] if self.mode == "subreaper" else []
        own += ["-g"] if "-g" in options else []
        return [*self.prefix(), *inside, *self.program, *own, "--", *command]
