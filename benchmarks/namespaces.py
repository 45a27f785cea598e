"""Start an init as PID 1 of a new PID namespace, and end it without leaving a process behind.

When PID 1 of a PID namespace ends, the kernel kills every other process in it, pid_namespaces(7). The parent-death
signal of PID 1 is SIGKILL. So no process outlives the harness, however the harness ends.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Optional, Union, cast

from pyinit.linux.procfs import list_children

from . import procfs, system
from .generators import Answer
from .inits import split_environment

# A run has mode NAMESPACE or SUBREAPER. PLAIN is for a program that is measured as an ordinary process in such a run.
NAMESPACE, SUBREAPER, PLAIN = "PID namespace", "subreaper", "plain process"

# The PIDs of processes that the harness has started and not yet ended. In SUBREAPER mode, all its other children are
# orphans that it has adopted.
ACTIVE: set[int] = set()

# A main child that does nothing until it reads an exit code from stdin, and then exits with that code.
WAITING_MAIN = ["/bin/sh", "-c", 'read code || exit 99; exit "$code"']

# A main child that SIGTERM ends, and that otherwise ends by itself.
SLEEPING_MAIN = ["/bin/sleep", "60"]


class StartError(Exception):
    """An init could not be started or used; the text says why."""


class Running:
    """A running init; use it in a `with` statement, which ends it.

    pid        its PID as the harness sees it
    mode       NAMESPACE or SUBREAPER
    to_main    the write end of its stdin, which the main child inherits
    from_main  the read end of its stdout, or -1 if that is /dev/null
    status     its wait status, once it has ended
    """

    def __init__(self, pid: int, to_main: int, from_main: int, helper: Optional[Helper], mode: str) -> None:
        self.pid = pid
        self.mode = mode
        self.to_main = to_main
        self.from_main = from_main
        self.generator = helper
        self.status: Optional[int] = None

    def __enter__(self) -> Running:
        return self

    @property
    def helper(self) -> Helper:
        """Return the storm generator beside the init. Raises StartError if the init was started without one."""
        if self.generator is None:
            raise StartError("was started without a storm generator")
        return self.generator

    def __exit__(self, *_: object) -> None:
        self.kill()

    def wait(self, patience: float) -> Optional[int]:
        """Wait for its end; return its exit code, 128 + N for signal N, or None if `patience` seconds are over."""
        if self.status is None:
            self.status = wait_end(self.pid, patience)
        return None if self.status is None else read_code(self.status)

    def end_main(self, code: int, patience: float) -> Optional[int]:
        """Make the waiting main child exit with `code`; return the init's exit code as wait() does."""
        try:
            os.write(self.to_main, b"%d\n" % code)
        except BrokenPipeError:
            pass
        return self.wait(patience)

    def kill(self) -> None:
        """Kill the init and all processes below it, and wait for their end."""
        if self.generator:
            self.generator.close()
        for descriptor in (self.to_main, self.from_main):
            if descriptor >= 0:
                os.close(descriptor)
        self.to_main = self.from_main = -1
        if self.status is None:
            self.status = end(self.pid, self.mode)
        elif self.mode != NAMESPACE:
            end_orphans()


class Helper:
    """A storm generator beside the init. It carries out one command at a time."""

    def __init__(self, to_helper: int, from_helper: int, name: str) -> None:
        self.commands = to_helper
        self.answers = from_helper
        self.name = name

    def send(self, command: str) -> None:
        """Send a command without waiting for the answer. Raises StartError if the generator has ended."""
        try:
            os.write(self.commands, command.encode() + b"\n")
        except BrokenPipeError:
            raise StartError("the storm generator has ended") from None

    def answered(self) -> bool:
        """Return whether receive() would find an answer, or the generator's end, without waiting."""
        return bool(select.select([self.answers], [], [], 0)[0])

    def receive(self, patience: float) -> Answer:
        """Return the answer to a command. Raises StartError if it does not come within `patience` seconds."""
        deadline = time.monotonic() + patience
        line = b""  # a list of latencies can make it megabytes long
        while not line.endswith(b"\n"):
            readable, _, _ = select.select([self.answers], [], [], max(0, deadline - time.monotonic()))
            piece = os.read(self.answers, 1 << 16) if readable else b""
            if not piece:
                raise StartError(f"the storm generator {'has ended' if readable else 'gave no answer in time'}")
            line += piece
        pairs = (pair.split("=") for pair in line.decode().split())
        return cast(Answer, {name: parse_answer(name, value) for name, value in pairs})

    def ask(self, command: str, patience: float = 60.0) -> Answer:
        """Send a command and return its answer. Raises StartError."""
        self.send(command)
        return self.receive(patience)

    def close(self) -> None:
        """Close the generator's pipes: it ends when it reads the end of its stdin."""
        for descriptor in (self.commands, self.answers):
            if descriptor >= 0:
                os.close(descriptor)
        self.commands = self.answers = -1


def wait_end(pid: int, patience: float) -> Optional[int]:
    """Wait for a child's end; return its wait status, or None if it still runs after `patience` seconds."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        wait_exit(pid, patience)
        done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        return None
    ACTIVE.discard(pid)
    return status


def wait_exit(pid: int, patience: float) -> None:
    """Wait up to `patience` seconds until a child is a zombie: by its pidfd (Linux 5.3), else by polling /proc."""
    try:
        descriptor = os.pidfd_open(pid)
    except (AttributeError, OSError):
        deadline = time.monotonic() + patience
        while procfs.read_state(pid) not in ("Z", "") and time.monotonic() < deadline:
            time.sleep(0.0005)
        return
    try:
        select.select([descriptor], [], [], patience)
    finally:
        os.close(descriptor)


def end(pid: int, mode: str) -> int:
    """Kill a child and all processes below it, and wait for their end; return the child's wait status."""
    below = [] if mode == NAMESPACE else list_descendants(pid)
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    ACTIVE.discard(pid)
    for process in below:
        kill_if_there(process)
    if mode != NAMESPACE:
        end_orphans()
    return status


def list_descendants(pid: int) -> list[int]:
    """Return the PIDs of all descendants of a process."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            children = list_children(waiting.pop())
        except OSError:
            continue
        found += children
        waiting += children
    return found


def end_orphans() -> None:
    """Kill the orphans of an init that had no namespace. The harness is a subreaper, so it has adopted them."""
    for _ in range(1000):  # each round ends one generation
        orphans = [child for child in list_children(os.getpid()) if child not in ACTIVE]
        if not orphans:
            return
        for orphan in orphans:
            kill_if_there(orphan)
        for orphan in orphans:
            os.waitpid(orphan, 0)


def kill_if_there(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def parse_answer(name: str, value: str) -> Union[int, list[int]]:
    """Parse a value of an answer: a list of numbers for latencies, else a number."""
    if name in ("latencies", "from_plan"):
        return [int(number) for number in value.split(",") if number]
    return int(value)


def read_code(status: int) -> int:
    """Return the exit code of a wait status as shells do: 128 + N for signal N."""
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def start(command: Sequence[str], helper: Sequence[str] = (), join: Sequence[str] = (), mode: str = NAMESPACE,
          stdout: bool = False, process_limit: int = 0) -> Running:
    """Start an init as PID 1 of a new PID namespace, or as a subreaper. Raises StartError.

    command        words NAME=VALUE for its environment, then its argv
    helper         the argv of a storm generator. It is forked before the init's program is executed, so that it is a
                   child of the init, and the init adopts the orphans that it makes
    join           the cgroup.procs files of the groups that PID 1 enters first
    stdout         whether stdout is a pipe; else it is /dev/null
    process_limit  RLIMIT_NPROC of the helper; 0 leaves it unchanged
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
    ACTIVE.add(pid)
    for descriptor in (*child_side, null):
        os.close(descriptor)
    unused = [failed] + ([] if stdout else [from_main]) + ([] if helper else [to_helper, from_helper])
    running = Running(pid, to_main, from_main if stdout else -1,
                      Helper(to_helper, from_helper, helper[-1]) if helper else None, mode)
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
    """A context in which the next child is PID 1 of a new PID namespace: unshare(2), and setns(2) at its end."""

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
    """In the child, prepare what PID 1 inherits, fork the helper, and execute the init. Never return."""
    try:
        system.set_parent_death_signal(signal.SIGKILL)
        os.setsid()  # else Ctrl-C on the harness's terminal would reach it
        for path in join:
            with open(path, "w") as file:
                file.write("0")  # cgroups(7): 0 stands for the writer
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
        environment, argv = split_environment(command)
        os.execve(argv[0], argv, {**os.environ, **dict(environment)})
    except BaseException as error:
        os.write(fail, (str(error) or repr(error)).encode())
    finally:
        os._exit(127)


def restore_signals() -> None:
    """Unblock and reset all signals: CPython ignores SIGPIPE and SIGXFSZ, and the harness catches others."""
    for number in range(1, signal.NSIG):
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):
            pass  # SIGKILL, SIGSTOP, and the signals that the C library reserves for itself
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def redirect(stdin: int, stdout: int, stderr: int) -> None:
    """Set the standard descriptors. execve(2) closes all other descriptors of the harness, which are close-on-exec."""
    for target, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, target)


def spawn(argv: Sequence[str], mode: str = NAMESPACE, environment: Optional[Mapping[str, str]] = None,
          blocked: Sequence[int] = ()) -> int:
    """Start a program by posix_spawn(3), in NAMESPACE mode as PID 1 of a new PID namespace; return its PID.

    posix_spawn(3) copies no page tables of the harness, so it adds little to the measured time of a start. It sets no
    parent-death signal, so start only short-lived programs.

    argv           words NAME=VALUE for its environment, then its argv
    environment    the rest of its environment; the default is the harness's
    blocked        the signals that are blocked in the program
    """
    null = "/dev/null"
    actions = [(os.POSIX_SPAWN_OPEN, 0, null, os.O_RDONLY, 0), (os.POSIX_SPAWN_OPEN, 1, null, os.O_WRONLY, 0),
               (os.POSIX_SPAWN_OPEN, 2, null, os.O_WRONLY, 0)]
    defaults = [number for number in signal.valid_signals() if number not in (signal.SIGKILL, signal.SIGSTOP)]
    more, argv = split_environment(argv)
    with own_namespace(mode):
        pid = os.posix_spawn(argv[0], argv, {**(os.environ if environment is None else environment), **dict(more)},
                             file_actions=actions, setsigmask=blocked, setsigdef=defaults, setpgroup=0)
    ACTIVE.add(pid)
    return pid


def adopted_children(running: Running) -> int:
    """Return the number of the init's children, zombies included."""
    return len(list_children(running.pid))


def wait_reaped(running: Running, children: int, patience: float = 10.0) -> int:
    """Wait until the init has at most `children` children; return how many more it has after `patience` seconds.

    Looks count as well as time: a machine that stands still for seconds holds up the init, too.
    """
    interval = 0.002
    deadline, looks = time.monotonic() + patience, patience / interval
    while True:
        left = adopted_children(running) - children
        looks -= 1
        if left <= 0 or looks <= 0 and time.monotonic() > deadline:
            return max(0, left)
        time.sleep(interval)


assert sys.platform == "linux", "the benchmarks need Linux"
