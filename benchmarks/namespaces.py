"""Starting an init as PID 1 of a PID namespace of its own, and ending it so that nothing is left.

The kernel ends every process of a PID namespace with its PID 1, pid_namespaces(7), and PID 1 has SIGKILL as its
parent-death signal: whatever happens to the harness, no process outlives it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from typing import Optional, Sequence

from . import procfs, system

NAMESPACE, SUBREAPER = "PID namespace", "subreaper"

# The main child of an init that is to do nothing until it is told with which code to exit.
WAITING_MAIN = ["/bin/sh", "-c", 'read code || exit 99; exit "$code"']


class StartError(Exception):
    """An init that could not be started; the text says why."""


class Running:
    """An init that runs; use it in a `with` statement, which ends it.

    pid        its PID as the harness sees it
    to_main    the write end of its stdin, which the main child inherits
    from_main  the read end of its stdout, or -1
    """

    def __init__(self, pid: int, to_main: int, from_main: int, helper: Optional[Helper]) -> None:
        self.pid = pid
        self.to_main = to_main
        self.from_main = from_main
        self.helper = helper
        self.status: Optional[int] = None

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait(self, patience: float) -> Optional[int]:
        """The exit code once it ends, 128 + N for signal N; None when it still runs after `patience` seconds."""
        deadline = time.monotonic() + patience
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
            elif time.monotonic() > deadline:
                return None
            else:
                time.sleep(0.0005)
        return read_code(self.status)

    def end_main(self, code: int, patience: float = 5.0) -> Optional[int]:
        """Have the waiting main child exit with `code`; return the init's own code, or None if it does not end."""
        try:
            os.write(self.to_main, b"%d\n" % code)
        except BrokenPipeError:
            pass
        return self.wait(patience)

    def kill(self) -> None:
        """End it and all that is in its namespace, and wait until they are gone."""
        if self.helper:
            self.helper.close()
        for descriptor in (self.to_main, self.from_main):
            if descriptor >= 0:
                os.close(descriptor)
        self.to_main = self.from_main = -1
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitpid(self.pid, 0)[1]


class Helper:
    """A storm generator beside the init, which obeys one command at a time."""

    def __init__(self, to_helper: int, from_helper: int, name: str) -> None:
        self.commands = to_helper
        self.answers = from_helper
        self.name = name

    def send(self, command: str) -> None:
        """Give a command without waiting for the answer."""
        os.write(self.commands, command.encode() + b"\n")

    def answered(self) -> bool:
        """Whether the answer is there."""
        return bool(select.select([self.answers], [], [], 0)[0])

    def receive(self, patience: float) -> dict:
        """The answer to a command. Raises StartError when there is none within `patience` seconds."""
        deadline = time.monotonic() + patience
        line = b""  # a line can have megabytes: a list of latencies
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.answers], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.answers, 1 << 16) if readable else b""
            if not piece:
                raise StartError(f"the storm generator {'has ended' if readable else 'gave no answer in time'}")
            line += piece
        return {name: parse_answer(name, value) for name, value in (pair.split("=") for pair in line.decode().split())}

    def ask(self, command: str, patience: float = 60.0) -> dict:
        """Give a command and return its answer."""
        self.send(command)
        return self.receive(patience)

    def close(self) -> None:
        """Close its pipes, upon which it ends."""
        for descriptor in (self.commands, self.answers):
            if descriptor >= 0:
                os.close(descriptor)
        self.commands = self.answers = -1


def parse_answer(name: str, value: str):
    """A number, or the list of numbers of a generator that measures by itself."""
    if name in ("latencies", "from_plan"):
        return [int(number) for number in value.split(",") if number]
    return int(value)


def read_code(status: int) -> int:
    """The exit code of a wait status as shells give it."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def start(command: Sequence[str], helper: Sequence[str] = (), join: Sequence[str] = (), mode: str = NAMESPACE,
          stdout: bool = False, process_limit: int = 0) -> Running:
    """Start `command` as PID 1 of a new PID namespace, or as a subreaper; return it.

    helper         the argv of a storm generator that is forked before the init's program is executed: it is a child of
                   the init, and so are the orphans that it makes
    join           the cgroup.procs files that PID 1 enters first
    stdout         whether stdout is a pipe; else it is /dev/null
    process_limit  RLIMIT_NPROC for the helper; 0 leaves it
    """
    pipes = [os.pipe2(os.O_CLOEXEC) for _ in range(5)]
    (main_in, to_main), (from_main, main_out), (helper_in, to_helper), (from_helper, helper_out), (failed, fail) = pipes
    child_side = [main_in, main_out, helper_in, helper_out, fail]
    null = os.open("/dev/null", os.O_WRONLY | os.O_CLOEXEC)
    with own_namespace(mode):
        pid = os.fork()
        if pid == 0:
            become_init(command, helper, join, mode, main_in, main_out if stdout else null, null,
                        (helper_in, helper_out), fail, process_limit)
    for descriptor in (*child_side, null):
        os.close(descriptor)
    unused = [failed] + ([] if stdout else [from_main]) + ([] if helper else [to_helper, from_helper])
    running = Running(pid, to_main, from_main if stdout else -1,
                      Helper(to_helper, from_helper, helper[-1]) if helper else None)
    try:
        problem = os.read(failed, 1000).decode(errors="replace")
    except BaseException:
        running.kill()
        raise
    finally:
        for descriptor in unused:
            os.close(descriptor)
    if problem:
        running.kill()
        raise StartError(f"{command[0]}: {problem}")
    return running


class own_namespace:
    """While inside, the children that are forked are PID 1 of a new PID namespace: unshare(2), and setns(2) back."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        if self.mode == NAMESPACE:
            self.back = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
            system.unshare(system.CLONE_NEWPID)

    def __exit__(self, *_: object) -> None:
        if self.mode == NAMESPACE:
            system.enter_namespace(self.back, system.CLONE_NEWPID)
            os.close(self.back)


def become_init(command: Sequence[str], helper: Sequence[str], join: Sequence[str], mode: str, stdin: int, stdout: int,
                stderr: int, helper_pipes: tuple[int, int], fail: int, process_limit: int) -> None:
    """In the child: prepare what PID 1 inherits, fork the helper, and execute the init. Does not return."""
    try:
        system.set_parent_death_signal(signal.SIGKILL)
        os.setsid()  # so that Ctrl-C on the harness's terminal does not reach it
        for path in join:
            with open(path, "w") as file:
                file.write("0")  # cgroups(7): the writer itself
        if mode == SUBREAPER:
            system.become_subreaper()
        restore_signals()
        if helper and os.fork() == 0:
            if process_limit:
                import resource

                resource.setrlimit(resource.RLIMIT_NPROC, (process_limit, process_limit))
            redirect(*helper_pipes, stderr)
            os.execv(helper[0], list(helper))
        redirect(stdin, stdout, stderr)
        os.execv(command[0], list(command))
    except BaseException as error:
        os.write(fail, (str(error) or repr(error)).encode())
    finally:
        os._exit(127)


def restore_signals() -> None:
    """The signal state of a fresh process: CPython ignores SIGPIPE and SIGXFSZ, and the harness catches SIGINT."""
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # SIGKILL, SIGSTOP, and those of the C library
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def redirect(stdin: int, stdout: int, stderr: int) -> None:
    """Set the standard descriptors, which execve(2) keeps; all others of the harness are close-on-exec."""
    for target, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, target)


def spawn(argv: Sequence[str], mode: str = NAMESPACE, environment: Optional[dict] = None) -> int:
    """Start a program as PID 1 of a new PID namespace by posix_spawn(3); return its PID.

    It copies no page tables of the harness, so that it is the cheap way in for measuring how long programs take.
    """
    null = "/dev/null"
    actions = [(os.POSIX_SPAWN_OPEN, 0, null, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, null, os.O_WRONLY, 0),
               (os.POSIX_SPAWN_OPEN, 2, null, os.O_WRONLY, 0)]
    defaults = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
    with own_namespace(mode):
        return os.posix_spawn(argv[0], list(argv), os.environ if environment is None else environment,
                              file_actions=actions, setsigmask=(), setsigdef=defaults, setpgroup=0)


def adopted_children(running: Running) -> int:
    """How many children the init has, zombies included."""
    return len(procfs.list_children(running.pid))


def wait_reaped(running: Running, children: int, patience: float = 10.0) -> int:
    """Wait until the init has at most `children` children; return how many it has more when `patience` is over."""
    deadline = time.monotonic() + patience
    while True:
        left = adopted_children(running) - children
        if left <= 0 or time.monotonic() > deadline:
            return max(0, left)
        time.sleep(0.002)


def find_mode() -> str:
    """What this process is allowed to do: NAMESPACE or SUBREAPER."""
    try:
        with own_namespace(NAMESPACE):
            return NAMESPACE
    except OSError:
        system.become_subreaper()  # what an init leaves behind when it is killed comes to the harness, and is ended
        return SUBREAPER


assert sys.platform == "linux", "the benchmarks need Linux"
