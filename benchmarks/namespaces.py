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
from .inits import split_environment

# PLAIN is no mode of a run: a program that is measured as an ordinary process beside.
NAMESPACE, SUBREAPER, PLAIN = "PID namespace", "subreaper", "plain process"

# The processes that were started and not yet ended: in SUBREAPER mode, all other children of the harness are orphans.
ACTIVE: set[int] = set()

# The main child of an init that is to do nothing until it is told with which code to exit.
WAITING_MAIN = ["/bin/sh", "-c", 'read code || exit 99; exit "$code"']

# A main child that SIGTERM ends, and that ends by itself in any case.
SLEEPING_MAIN = ["/bin/sleep", "60"]


class StartError(Exception):
    """An init that could not be started; the text says why."""


class Running:
    """An init that runs; use it in a `with` statement, which ends it.

    pid        its PID as the harness sees it
    to_main    the write end of its stdin, which the main child inherits
    from_main  the read end of its stdout, or -1
    """

    def __init__(self, pid: int, to_main: int, from_main: int, helper: Optional[Helper], mode: str) -> None:
        self.pid = pid
        self.mode = mode
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
        if self.status is None:
            self.status = wait_end(self.pid, patience)
        return None if self.status is None else read_code(self.status)

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
            self.status = end(self.pid, self.mode)
        elif self.mode != NAMESPACE:
            end_orphans()


class Helper:
    """A storm generator beside the init, which obeys one command at a time."""

    def __init__(self, to_helper: int, from_helper: int, name: str) -> None:
        self.commands = to_helper
        self.answers = from_helper
        self.name = name

    def send(self, command: str) -> None:
        """Give a command without waiting for the answer."""
        try:
            os.write(self.commands, command.encode() + b"\n")
        except BrokenPipeError:
            raise StartError("the storm generator has ended") from None

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


def wait_end(pid: int, patience: float) -> Optional[int]:
    """The wait status of a child once it ends; None when it still runs after `patience` seconds."""
    done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        wait_exit(pid, patience)
        done, status = os.waitpid(pid, os.WNOHANG)
    if not done:
        return None
    ACTIVE.discard(pid)
    return status


def wait_exit(pid: int, patience: float) -> None:
    """Wait until a child is a zombie, for up to `patience` seconds; at once if the kernel has pidfds, Linux 5.3."""
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
    """End a child and everything below it, and wait until it is gone; return its wait status."""
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
    """The PIDs of all processes below one."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        try:
            children = procfs.list_children(waiting.pop())
        except OSError:
            continue
        found += children
        waiting += children
    return found


def end_orphans() -> None:
    """Without a namespace, what an init leaves behind comes to the harness, which is a subreaper: end it."""
    for _ in range(1000):  # each round ends one generation
        orphans = [child for child in procfs.list_children(os.getpid()) if child not in ACTIVE]
        if not orphans:
            return
        for orphan in orphans:
            kill_if_there(orphan)
        for orphan in orphans:
            os.waitpid(orphan, 0)


def kill_if_there(pid: int, number: int = signal.SIGKILL) -> None:
    """A signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


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

    command        its argv, behind the words NAME=VALUE of its environment
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
        environment, argv = split_environment(command)
        os.execve(argv[0], argv, {**os.environ, **dict(environment)})
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


def spawn(argv: Sequence[str], mode: str = NAMESPACE, environment: Optional[dict] = None,
          blocked: Sequence[int] = ()) -> int:
    """Start a program as PID 1 of a new PID namespace by posix_spawn(3), with some signals blocked; return its PID.

    It copies no page tables of the harness, so that it is the cheap way in for measuring how long programs take. There
    is no parent-death signal here: what it starts is to be short-lived.
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
    """What this process is allowed to do: NAMESPACE or SUBREAPER. It may go on in a child, in a user namespace."""
    if may_make_namespaces():
        return NAMESPACE
    if may_enter_user_namespace():
        enter_user_namespace()
        return NAMESPACE
    system.become_subreaper()  # what an init leaves behind when it is killed comes to the harness, and is ended
    return SUBREAPER


def may_make_namespaces() -> bool:
    """Whether a PID namespace can be made and left again."""
    try:
        with own_namespace(NAMESPACE):
            return True
    except OSError:
        return False


def may_enter_user_namespace() -> bool:
    """Whether enter_user_namespace() would work, tried in a child."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            become_root()
            inner = os.fork()
            if inner == 0:
                system.mount("proc", "/proc", "proc")
                os._exit(0 if may_make_namespaces() else 1)
            code = read_code(os.waitpid(inner, 0)[1])
        except OSError:
            pass
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1] == 0


def become_root() -> None:
    """A user namespace in which this user is root, with mounts and children's PIDs of its own: user_namespaces(7)."""
    user, group = os.geteuid(), os.getegid()
    system.unshare(system.CLONE_NEWUSER | system.CLONE_NEWNS | system.CLONE_NEWPID)
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


def enter_user_namespace() -> None:
    """Go on in a child that is root, and PID 1, of namespaces of its own; this process only hands on its exit code.

    Everything that the child starts ends with it, pid_namespaces(7).
    """
    sys.stdout.flush()
    outer = os.getpid()
    child = os.fork()
    if child:
        hand_on(child)
    system.set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != outer:
        os._exit(1)
    become_root()
    child = os.fork()
    if child:
        hand_on(child)
    system.set_parent_death_signal(signal.SIGTERM)
    system.mount("proc", "/proc", "proc")


def hand_on(child: int) -> None:
    """Pass signals on to the child, and exit with its exit code. Does not return."""

    def pass_on(number: int, _frame: object) -> None:
        kill_if_there(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN if os.isatty(0) else pass_on)  # a terminal sends it to both
    os._exit(read_code(os.waitpid(child, 0)[1]))


assert sys.platform == "linux", "the benchmarks need Linux"
