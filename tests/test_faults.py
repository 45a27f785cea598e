"""What can fail around pyinit fails, and pyinit goes on: it reaps, forwards, ends with the main child's exit code."""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import (PYTHON, ROOT, WORKER, Init, Running, children_of, number_of, observe_for, python, refuse_call, run,
                     shell, use, wait_until, zombies_of)
NOBODY = 65535
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]


def test_worker_needs_a_reaper(stand_in: Init) -> None:
    """The scene of this file under what does not reap: it can fail."""
    with stand_in.start(python(WORKER)) as running:
        running.expect("ready")
        for _ in range(10):
            running.write(b"x")
            running.expect("made")
        pid = running.pid
        wait_until(lambda: len(zombies_of(pid)) == 10, "ten zombies")


# A sandbox that refuses to wait for signals -------------------------------------------------------------------------

@pytest.fixture(params=[errno.EPERM, errno.ENOSYS, errno.EINVAL], ids=errno.errorcode.get)
def no_waiting(request: pytest.FixtureRequest) -> dict[str, Callable]:
    """What has the kernel refuse it to a process to be started."""
    number = number_of("rt_sigtimedwait")
    return {"preexec_fn": lambda: refuse_call(number, request.param)}


def test_init_that_cannot_wait(init: Init, no_waiting: dict[str, Callable]) -> None:
    """It hears no signal, says so once, and goes on reaping until the main child ends."""
    with init.start(shell("(true &); echo ready; read line; exit 23"), **no_waiting) as running:
        running.expect("ready")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "the orphan to be reaped")
        observe_for(0.2)  # for some more refusals
        result = running.finish()
        assert (result.code, result.err.count(b"\n")) == (23, 1), result.err


def test_pause_that_cannot_wait(mode: str, launcher: str, no_waiting: dict[str, Callable]) -> None:
    """It says so, and ends: it would use a whole CPU, deaf to SIGTERM."""
    result = run([*Init(mode, []).prefix(), launcher, "--pause"], **no_waiting)
    lines = [line for line in result.err.splitlines() if not line.startswith(b"Warning: pause should be")]
    assert (result.code, len(lines)) == (1, 2), result.err
    assert lines[1].startswith(b"pyinit: cannot wait for signals")


# stderr that takes nothing ------------------------------------------------------------------------------------------

def full_pipe() -> tuple[int, int]:
    """A pipe that nobody reads, full to its last byte."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, bytes(4096))
    except BlockingIOError:
        pass
    try:
        while True:
            os.write(write, b"x")
    except BlockingIOError:
        pass
    os.set_blocking(write, True)
    return read, write


def nearly_full_pipe() -> tuple[int, int]:
    """A pipe that nobody reads, with room for a page and no more: poll(2) says that it can be written to."""
    read, write = os.pipe()
    fcntl.fcntl(write, 1031, 8192)  # F_SETPIPE_SZ, <fcntl.h>
    os.write(write, bytes(4096))
    return read, write


def closed_pipe() -> tuple[int, int]:
    """A pipe that nobody can read: a write raises SIGPIPE, pipe(7)."""
    read, write = os.pipe()
    os.close(read)
    return -1, write


def full_device() -> tuple[int, int]:
    """A file on a full disk, full(4)."""
    return -1, os.open("/dev/full", os.O_WRONLY)


def read_only() -> tuple[int, int]:
    """A descriptor that is not for writing: EBADF."""
    return -1, os.open("/dev/null", os.O_RDONLY)


def disconnected_socket() -> tuple[int, int]:
    """A stream socket whose other end has gone."""
    one, other = socket.socketpair()
    other.close()
    return -1, one.detach()


BROKEN = [full_pipe, nearly_full_pipe, closed_pipe, full_device, read_only, disconnected_socket]


@pytest.mark.core
@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_stderr_that_takes_nothing(init: Init, broken: Callable[[], tuple[int, int]]) -> None:
    """At every verbosity, more lines than fit: the reaping goes on, and no SIGPIPE of pyinit's own is forwarded."""
    for options in ([], ["-w"], ["-vvv", "-w"]):
        read, write = broken()
        try:
            with init.start(python(WORKER), options, stderr=write) as running:
                running.expect("ready")
                use(running, 150 if "-w" in options else 5)
        finally:
            for descriptor in (read, write):
                if descriptor >= 0:
                    os.close(descriptor)


def test_file_size_limit(init: Init) -> None:
    """RLIMIT_FSIZE: a message to a file raises SIGXFSZ in pyinit, setrlimit(2), which is not the main child's."""
    with init.start(python(WORKER), ["-vvv", "-w"], inside=["prlimit", "--fsize=0"]) as running:
        running.expect("ready")
        use(running)


@pytest.mark.parametrize("broken", BROKEN[2:], ids=lambda broken: broken.__name__)
def test_refusal_to_a_stderr_that_takes_nothing(any_init: Init, broken: Callable[[], tuple[int, int]]) -> None:
    """Nobody hears the message; the exit code is right all the same."""
    _, write = broken()
    try:
        assert any_init.run(["/no/such/command"], stderr=write).code == 127
        assert any_init.run(["/"], stderr=write).code == 126
        assert run([*any_init.prefix(), *any_init.program, "--unknown"], stderr=write).code == 1
    finally:
        os.close(write)


@pytest.mark.parametrize("broken", BROKEN[2:], ids=lambda broken: broken.__name__)
def test_help_to_a_stdout_that_takes_nothing(any_init: Init, broken: Callable[[], tuple[int, int]]) -> None:
    _, write = broken()
    try:
        assert run([*any_init.prefix(), *any_init.program, "--help"], stdout=write) == (1, b"", b"")
    finally:
        os.close(write)


# Resources that run out ---------------------------------------------------------------------------------------------

def test_resources_gone_after_the_start(init: Init) -> None:
    """No memory, no descriptor, no process more for pyinit once the main child runs."""
    limits = [resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC,
              resource.RLIMIT_FSIZE, resource.RLIMIT_STACK]
    for options in ([], ["-w"], ["-g", "-vvv"]):
        for limit in limits:
            with init.start(python(WORKER), options) as running:
                running.expect("ready")
                resource.prlimit(running.pid, limit, (0, 0))
                use(running, 50)


def runs_under(argv: list[str], *limits: str) -> bool:
    """Whether a program runs under limits as it should, which is with exit code 23."""
    return subprocess.run(["prlimit", *limits, *argv], capture_output=True).returncode == 23


def smallest(works: Callable[[int], bool], low: int, high: int, step: int) -> int:
    """The smallest limit that works, to a step, by halving."""
    while high - low > step:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def test_small_address_space(launcher: str) -> None:
    """RLIMIT_AS, from the least under which pyinit starts: it works, or says in one line why it cannot; before that it
    may have warned that it could not load what makes it a subreaper.

    Where the edge lies differs from run to run, as the kernel lays out each address space at random.
    """
    init = Init("subreaper", [launcher])
    least = smallest(lambda limit: runs_under(init.argv(shell("exit 23")), f"--as={limit}"), 1 << 20, 1 << 30, 1 << 14)
    results = [init.run(shell("exit 23"), ["-w", "-vv"], inside=["prlimit", f"--as={least + more}"])
               for more in range(0, 1 << 20, 1 << 14)]
    for result in results:
        # CPython's own word when it cannot compile the launcher: nothing of that has run yet.
        if result.code != 23 and result.err != b"MemoryError\n":
            lines = [line for line in result.err.splitlines() if not line.startswith(b"pyinit: warning: ")]
            assert (result.code, len(lines)) == (1, 1), result
            assert lines[0].startswith(b"pyinit: ") and b": ;" not in lines[0], result
    assert any(result.code == 23 for result in results)


@pytest.mark.parametrize("limit", range(3, 9))
def test_few_descriptors(init: Init, limit: int, tmp_path: Path) -> None:
    """RLIMIT_NOFILE: where a bare interpreter can run a script, pyinit can."""
    (tmp_path / "script").write_text("import posix; posix._exit(23)\n")
    if not runs_under([PYTHON, "-ISXutf8", str(tmp_path / "script")], f"--nofile={limit}"):
        pytest.skip(f"CPython itself cannot run a script with {limit} descriptors")
    # The main child, a C program, needs one descriptor to load the C library.
    result = init.run(["/bin/true"], ["-vvv", "-w"], inside=["prlimit", f"--nofile={limit}"])
    assert result.code == 0, result


@functools.lru_cache
def public_python() -> str:
    """An interpreter that every user may execute."""
    for path in (PYTHON, "/usr/bin/python3"):
        # Through `env`: setpriv(1) itself keeps its capabilities up to its execve(2), whose path they would open.
        if subprocess.run([*AS_NOBODY, "env", path, "-ISc", "import signal"], capture_output=True).returncode == 0:
            return path
    pytest.skip("no Python that another user may execute")


@pytest.fixture
def public_init(mode: str, needs_root: None) -> Iterator[Init]:
    """A launcher that every user may run."""
    folder = tempfile.mkdtemp(prefix="pyinit-public-")
    os.chmod(folder, 0o755)
    subprocess.run([PYTHON, "-m", "pyinit.launcher", "--python", public_python(), f"{folder}/pyinit"], cwd=ROOT,
                   check=True, stdout=subprocess.DEVNULL)
    yield Init(mode, [f"{folder}/pyinit"])
    shutil.rmtree(folder)


def test_process_limit_of_a_user(public_init: Init) -> None:
    """RLIMIT_NPROC: fork(2) fails with EAGAIN; one clear line and exit code 1."""
    # A user ID that nobody else has, as its processes are counted everywhere, setrlimit(2).
    inside = ["setpriv", "--reuid=64321", "--regid=64321", "--clear-groups", "--inh-caps=-all", "prlimit", "--nproc=1"]
    result = public_init.run(["true"], inside=inside)
    assert result == (1, b"", b"pyinit: cannot start 'true': fork: Resource temporarily unavailable\n")


@pytest.fixture
def process_group_limit(needs_root: None) -> Iterator[Path]:
    """A control group whose processes are counted, version 1 or 2."""
    for folder in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified")):
        group = folder / f"pyinit-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            if (group / "pids.max").exists():
                yield group
                return
        finally:
            wait_until(lambda: not (group / "cgroup.procs").read_text(), "the control group to be empty")
            group.rmdir()
    pytest.skip("no control group with a limit of processes can be made here")


def join(group: Path) -> list[str]:
    """A command in front of another that puts it into a control group."""
    return ["/bin/sh", "-c", 'echo 0 >"$0"/cgroup.procs && exec "$@"', str(group)]


def test_process_limit_of_a_container(init: Init, process_group_limit: Path) -> None:
    (process_group_limit / "pids.max").write_text("1")
    result = init.run(["true"], inside=join(process_group_limit))
    assert result == (1, b"", b"pyinit: cannot start 'true': fork: Resource temporarily unavailable\n")


def test_reaping_frees_processes_under_a_limit(init: Init, process_group_limit: Path) -> None:
    """Many more orphans than the limit lets there be at once: each one reaped makes room for the next."""
    (process_group_limit / "pids.max").write_text("20")
    with init.start(python(WORKER), inside=join(process_group_limit)) as running:
        running.expect("ready")
        use(running, 200)


def test_zombies_use_up_a_limit(stand_in: Init, process_group_limit: Path) -> None:
    """The same without a reaper fails: zombies count, kernel documentation of the pids controller."""
    (process_group_limit / "pids.max").write_text("20")
    with stand_in.start(python(WORKER), inside=join(process_group_limit)) as running:
        running.expect("ready")
        with pytest.raises((AssertionError, BrokenPipeError)):
            for _ in range(200):
                running.write(b"x")
                running.expect("made")


# What is not there --------------------------------------------------------------------------------------------------

MOUNTS = ["/usr/bin/unshare", "--mount", *(["--user", "--map-root-user"] if os.geteuid() else [])]
OVER = 'mount -t tmpfs none "$0" && exec "$@"'


def start_in(init: Init, change: list[str], command: list[str], **popen) -> Running:
    """Start in a mount namespace of its own that something was changed in."""
    return init.start(command, inside=[*MOUNTS, *change], **popen)


@pytest.mark.core
def test_no_proc(any_init: Init) -> None:
    with start_in(any_init, ["/bin/sh", "-c", OVER, "/proc"], python(WORKER)) as running:
        running.expect("ready")
        use(running)
        assert running.read_error() == b""


def test_no_proc_under_a_c_locale(init: Init) -> None:
    """What CPython did to the environment cannot be known then: it says so, and goes on."""
    inside = [*MOUNTS, "/bin/sh", "-c", OVER, "/proc"]
    result = init.run(shell("exit 8"), inside=inside, env={"LC_CTYPE": "C", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})
    assert (result.code, result.err.count(b"\n")) == (8, 1)
    assert result.err.startswith(b"pyinit: warning: cannot read /proc/self/environ")
    assert init.run(shell("exit 8"), inside=inside, env={"LC_CTYPE": "C.UTF-8", "LC_ALL": "C.UTF-8",
                                                         "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}).code == 8


def test_no_dev(any_init: Init) -> None:
    with start_in(any_init, ["/bin/sh", "-c", OVER, "/dev"], python(WORKER)) as running:
        running.expect("ready")
        use(running)
        assert running.read_error() == b""


def test_read_only_root(any_init: Init) -> None:
    change = ["/bin/sh", "-c", 'mount -o remount,bind,ro / && ! touch /pyinit-test 2>/dev/null && exec "$@"', "sh"]
    with start_in(any_init, change, python(WORKER)) as running:
        running.expect("ready")
        use(running)
        assert running.read_error() == b""


def test_user_without_passwd_entry(public_init: Init) -> None:
    """UID 65535: no name, no home, no environment."""
    with public_init.start(["/usr/bin/env", "-i", "/usr/bin/id", "-u"], inside=["env", "-i", *AS_NOBODY]) as running:
        running.expect(str(NOBODY))
        assert running.finish() == (0, b"", b"")
    worker = [public_python(), *python(WORKER)[1:]]
    with public_init.start(worker, inside=["env", "-i", *AS_NOBODY, "--no-new-privs"], env={}) as running:
        running.expect("ready")
        use(running)
        assert running.read_error() == b""


# What is refused ----------------------------------------------------------------------------------------------------

def test_main_child_of_another_user(init: Init, needs_root: None) -> None:
    """Without CAP_KILL a signal to a main child that has changed its user is EPERM, kill(2): a line, and on it goes."""
    change = f"import os, select, signal\nos.setgroups([])\nos.setgid({NOBODY})\nos.setuid({NOBODY})\n"
    without = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]
    with init.start(python(change + WORKER), inside=without) as running:
        running.expect("ready")
        for _ in range(3):
            running.send(signal.SIGTERM)
        wait_until(lambda: b"SIGTERM" in running.read_error(), "the warning")
        os.kill(running.main_child, signal.SIGUSR1)
        running.expect("signal")
        running.send(signal.SIGUSR2)
        wait_until(lambda: b"SIGUSR2" in running.read_error(), "the warning")
        result = running.finish()
        assert result.code == 23
        assert all(line.startswith(b"pyinit: warning: cannot forward SIG") for line in result.err.splitlines())


def test_prctl_refused(launcher: str) -> None:
    number = number_of("prctl")
    result = run([launcher, "-s", "-p", "TERM", "--", "sh", "-c", "exit 12"],
                 preexec_fn=lambda: refuse_call(number, errno.EPERM))
    assert (result.code, result.out) == (12, b"")
    lines = result.err.decode().splitlines()
    assert [line for line in lines if "subreaper: prctl(2) was refused" in line] != []
    assert [line for line in lines if "parent-death signal: prctl(2) was refused" in line] != []
    assert all(line.startswith("pyinit: warning: ") for line in lines)


def test_main_child_whose_status_is_lost(launcher: str) -> None:
    """No child is left, wait(2) ECHILD, and the main child was none of those reaped: it never will be."""
    number = number_of("wait4")
    result = run([launcher, "-s", "--", *shell("exit 7")], preexec_fn=lambda: refuse_call(number, errno.ECHILD))
    assert (result.code, result.out, result.err.count(b"\n")) == (1, b"", 1)
    assert result.err.startswith(b"pyinit: warning: ") and b"status" in result.err


# Those that can let a moment pass, whatever the version of Python does it by.
SLEEPS = ("nanosleep", "clock_nanosleep", "select", "pselect6", "poll", "ppoll")


def test_wait_that_keeps_failing(launcher: str, tmp_path: Path) -> None:
    """pyinit goes on by looking for ended children, and rests between two tries: it must not eat the processor."""
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    log = tmp_path / "calls"
    tracer = ["strace", "-qq", "-o", str(log), f"--trace=rt_sigtimedwait,{','.join('?' + call for call in SLEEPS)}",
              "--inject=rt_sigtimedwait:error=EPERM"]
    with Init("subreaper", [launcher]).start(shell("read line; exit 7"), inside=tracer) as running:
        wait_until(lambda: log.exists() and log.read_text().count("(INJECTED)") >= 10, "ten tries")
        assert running.finish().code == 7
    calls = [line.partition("(")[0] for line in log.read_text().splitlines() if "(" in line]
    waits = [position for position, call in enumerate(calls) if call == "rt_sigtimedwait"]
    assert all(set(calls[one + 1:other]) & set(SLEEPS) for one, other in zip(waits, waits[1:])), calls[:30]
