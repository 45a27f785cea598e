"""With refused system calls, small limits, missing mounts or few rights, pyinit still reaps, forwards signals and exits
with the main child's exit code, or ends with a clear message.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.inits import Init
from support.orphans import WORKER, use
from support.proc import children_of, zombies_of
from support.processes import python, run, shell, start_pause
from support.sandbox import number_of, refuse_call
from support.settings import DEADLINE, MOUNTS, PYTHON, ROOT
from support.waiting import observe_for, wait_until

NOBODY = 65535
AS_NOBODY = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--inh-caps=-all"]


def test_worker_needs_a_reaper(stand_in: Init) -> None:
    """The scene of this module fails under an init that does not reap."""
    with stand_in.start(python(WORKER)) as running:
        running.expect("ready")
        for _ in range(10):
            running.write(b"x")
            running.expect("made")
        pid = running.pid
        wait_until(lambda: len(zombies_of(pid)) == 10, "ten zombies")


@pytest.fixture(params=[errno.EPERM, errno.ENOSYS, errno.EINVAL], ids=errno.errorcode.get)
def no_waiting(request: pytest.FixtureRequest) -> dict[str, Callable]:
    """Return options of Popen with which the kernel refuses rt_sigtimedwait(2) to a process."""
    number = number_of("rt_sigtimedwait")
    return {"preexec_fn": lambda: refuse_call(number, request.param)}


# The refusal is the same in any namespace.
@pytest.mark.usual("mode")
def test_init_that_cannot_wait(init: Init, no_waiting: dict[str, Callable]) -> None:
    """pyinit warns once that it cannot receive signals, and reaps until the main child ends."""
    with init.start(shell("(true &); echo ready; read line; exit 23"), **no_waiting) as running:
        running.expect("ready")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "the orphan to be reaped")
        observe_for(0.2)  # for some more refusals
        result = running.finish()
        assert (result.code, result.err.count(b"\n")) == (23, 1), result.err


# The pause waits a second before it gives up, also as PID 1.
@pytest.mark.usual("mode")
def test_pause_that_cannot_wait(mode: str, launcher: str, no_waiting: dict[str, Callable]) -> None:
    """The pause says so and ends. Otherwise it would use a whole CPU and never see SIGTERM."""
    result = run([*Init(mode, []).prefix(), launcher, "--pause"], **no_waiting)
    lines = [line for line in result.err.splitlines() if not line.startswith(b"Warning: pause should be")]
    assert (result.code, len(lines)) == (1, 2), result.err
    assert lines[1].startswith(b"pyinit: cannot wait for signals")


@pytest.mark.parametrize("way", ["module", "console script", "script"])
def test_signals_that_cannot_be_blocked(way: str, script_launcher: str) -> None:
    """pyinit cannot keep its promises then: it says so in one line, and starts nothing."""
    argv = {"module": [PYTHON, "-m", "pyinit"], "script": [script_launcher],
            "console script": [PYTHON, "-c", "from pyinit.main import main; main()"]}[way]
    number = number_of("rt_sigprocmask")
    for options in (["--", *shell("echo started")], ["--pause"]):
        result = run([*argv, *options], preexec_fn=lambda: refuse_call(number, errno.EPERM))
        assert result == (1, b"", b"pyinit: unexpected PermissionError(1, 'Operation not permitted')\n")


@pytest.mark.parametrize("options", [[], ["--reap", "kernel"]], ids=["wait", "kernel"])
def test_pause_that_cannot_reap(launcher: str, options: list[str]) -> None:
    """The pause warns once and goes on until SIGTERM, because the pod's PID namespace would end with it."""
    number = number_of("wait4")
    with start_pause([launcher, "--pause", *options], preexec_fn=lambda: refuse_call(number, errno.EPERM)) as running:
        running.send(signal.SIGCHLD)
        running.send(signal.SIGTERM)
        result = running.finish()
    lines = [line for line in result.err.splitlines() if not line.startswith(b"Warning: pause should be")]
    assert (result.code, len(lines)) == (0, 2), result.err
    assert lines[0].startswith(b"pyinit: warning: ") and lines[1].startswith(b"Shutting down")


# Eighteen runs in each mode. A limit applies to one process in any namespace, prlimit(2).
@pytest.mark.usual("mode")
def test_resources_gone_after_the_start(init: Init) -> None:
    """pyinit gets no more memory, descriptors or processes once the main child runs."""
    limits = [resource.RLIMIT_AS, resource.RLIMIT_DATA, resource.RLIMIT_NOFILE, resource.RLIMIT_NPROC,
              resource.RLIMIT_FSIZE, resource.RLIMIT_STACK]
    for options in ([], ["-w"], ["-g", "-vvv"]):
        for limit in limits:
            with init.start(python(WORKER), options) as running:
                running.expect("ready")
                resource.prlimit(running.pid, limit, (0, 0))
                use(running, 50)


def runs_under(argv: list[str], *limits: str) -> bool:
    """Say whether a program runs under limits with exit code 23."""
    return subprocess.run(["prlimit", *limits, *argv], capture_output=True).returncode == 23


def smallest(works: Callable[[int], bool], low: int, high: int, step: int) -> int:
    """Return the smallest limit between `low` and `high` that works, to within `step`, by bisection."""
    while high - low > step:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


@pytest.mark.core
def test_small_address_space(launcher: str, tmp_path: Path) -> None:
    """From the smallest RLIMIT_AS under which CPython runs a script, pyinit does all that it does without a limit, or
    says in one line that it cannot before it starts the main child.

    An address space that the kernel does not randomise is the same in each run.
    """
    fixed = ["setarch", "--addr-no-randomize"]
    if subprocess.run([*fixed, "true"], capture_output=True).returncode:
        pytest.skip("a sandbox refuses personality(2), which makes each address space the same")
    (tmp_path / "script").write_text("import posix; posix._exit(23)\n")
    script = [*fixed, PYTHON, "-ISXutf8", str(tmp_path / "script")]
    least = smallest(lambda limit: runs_under(script, f"--as={limit}"), 1 << 20, 1 << 30, 1 << 14)
    command = Init("subreaper", [launcher]).argv(shell("exit 23"), ["-w", "-vv"])

    def outcome(*limits: str) -> tuple[int, bytes]:
        """Return the exit code and the messages under limits."""
        result = subprocess.run([*fixed, "prlimit", *limits, *command], capture_output=True, timeout=DEADLINE)
        lines = [line for line in result.stderr.splitlines(True) if line.startswith(b"pyinit: ")]
        return result.returncode, re.sub(rb"PID \d+", b"PID N", b"".join(lines))

    outcomes = {outcome(f"--as={least + more}") for more in range(0, 1 << 23, 1 << 14)}
    # Without a line, CPython has failed before any of pyinit has run, with messages of its own.
    with_lines = {(code, lines) for code, lines in outcomes if lines or code == 23}
    assert with_lines == {(1, b"pyinit: cannot load the package: out of memory\n"), outcome()}


@pytest.mark.parametrize("limit", range(3, 9))
def test_few_descriptors(init: Init, limit: int, tmp_path: Path) -> None:
    """pyinit runs under each RLIMIT_NOFILE under which a bare interpreter can run a script."""
    (tmp_path / "script").write_text("import posix; posix._exit(23)\n")
    if not runs_under([PYTHON, "-ISXutf8", str(tmp_path / "script")], f"--nofile={limit}"):
        pytest.skip(f"CPython itself cannot run a script with {limit} descriptors")
    # The main child, a C program, needs one descriptor to load the C library.
    result = init.run(["/bin/true"], ["-vvv", "-w"], inside=["prlimit", f"--nofile={limit}"])
    assert result.code == 0, result


@functools.lru_cache
def public_python() -> str:
    """Return an interpreter that every user may execute; skip the test if there is none."""
    for path in (PYTHON, "/usr/bin/python3"):
        # Through `env`: setpriv(1) has its capabilities until its execve(2), which would open any path with them.
        if subprocess.run([*AS_NOBODY, "env", path, "-ISc", "import signal"], capture_output=True).returncode == 0:
            return path
    pytest.skip("no Python that another user may execute")


@pytest.fixture
def public_init(mode: str, needs_root: None) -> Iterator[Init]:
    """Install a launcher that every user may run."""
    folder = tempfile.mkdtemp(prefix="pyinit-public-")
    os.chmod(folder, 0o755)
    subprocess.run([PYTHON, "-m", "pyinit.launcher", "--python", public_python(), f"{folder}/pyinit"], cwd=ROOT,
                   check=True, stdout=subprocess.DEVNULL)
    yield Init(mode, [f"{folder}/pyinit"])
    shutil.rmtree(folder)


def test_process_limit_of_a_user(public_init: Init) -> None:
    """If RLIMIT_NPROC makes fork(2) fail with EAGAIN, pyinit writes one clear line and exits with code 1."""
    # A user ID without other processes: the limit counts the user's processes in all namespaces, setrlimit(2).
    inside = ["setpriv", "--reuid=64321", "--regid=64321", "--clear-groups", "--inh-caps=-all", "prlimit", "--nproc=1"]
    result = public_init.run(["true"], inside=inside)
    assert result == (1, b"", b"pyinit: cannot start 'true': fork: Resource temporarily unavailable\n")


@pytest.fixture
def process_group_limit(needs_root: None) -> Iterator[Path]:
    """Make a control group with the pids controller, version 1 or 2; skip the test if that is not possible."""
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
    """Return a command that puts itself into a control group and executes its arguments."""
    return ["/bin/sh", "-c", 'echo 0 >"$0"/cgroup.procs && exec "$@"', str(group)]


def test_process_limit_of_a_container(init: Init, process_group_limit: Path) -> None:
    (process_group_limit / "pids.max").write_text("1")
    result = init.run(["true"], inside=join(process_group_limit))
    assert result == (1, b"", b"pyinit: cannot start 'true': fork: Resource temporarily unavailable\n")


def test_reaping_frees_processes_under_a_limit(init: Init, process_group_limit: Path) -> None:
    """pyinit adopts many more orphans than the limit allows at once, since reaping one allows another."""
    (process_group_limit / "pids.max").write_text("20")
    with init.start(python(WORKER), inside=join(process_group_limit)) as running:
        running.expect("ready")
        use(running, 200)


def test_zombies_use_up_a_limit(stand_in: Init, process_group_limit: Path) -> None:
    """The test above fails without a reaper: the pids controller counts zombies, as the kernel's documentation says."""
    (process_group_limit / "pids.max").write_text("20")
    with stand_in.start(python(WORKER), inside=join(process_group_limit)) as running:
        running.expect("ready")
        with pytest.raises((AssertionError, BrokenPipeError)):
            for _ in range(200):
                running.write(b"x")
                running.expect("made")


OVER = 'mount -t tmpfs none "$0" && exec "$@"'


def use_in(init: Init, change: list[str]) -> None:
    """Run a worker in its own mount namespace, which `change` has changed: all works, without a message."""
    with init.start(python(WORKER), inside=[*MOUNTS, *change]) as running:
        running.expect("ready")
        use(running)
        assert running.read_error() == b""


@pytest.mark.core
@pytest.mark.usefixtures("mounts")
def test_no_proc(any_init: Init) -> None:
    use_in(any_init, ["/bin/sh", "-c", OVER, "/proc"])


@pytest.mark.usefixtures("mounts")
def test_no_proc_under_a_c_locale(mode: str, script_launcher: str) -> None:
    """Without a stub and /proc, pyinit cannot know how CPython has changed the environment: it warns, and continues."""
    init = Init(mode, [script_launcher])
    inside = [*MOUNTS, "/bin/sh", "-c", OVER, "/proc"]
    result = init.run(shell("exit 8"), inside=inside, env={"LC_CTYPE": "C", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"})
    assert (result.code, result.err.count(b"\n")) == (8, 1)
    assert result.err.startswith(b"pyinit: warning: cannot read /proc/self/environ")
    assert init.run(shell("exit 8"), inside=inside, env={"LC_CTYPE": "C.UTF-8", "LC_ALL": "C.UTF-8",
                                                         "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}).code == 8


@pytest.mark.usefixtures("mounts")
def test_no_dev(any_init: Init) -> None:
    use_in(any_init, ["/bin/sh", "-c", OVER, "/dev"])


@pytest.mark.usefixtures("mounts")
def test_read_only_root(any_init: Init) -> None:
    change = ["/bin/sh", "-c", 'mount -o remount,bind,ro / && ! touch /pyinit-test 2>/dev/null && exec "$@"', "sh"]
    use_in(any_init, change)


def test_user_without_passwd_entry(public_init: Init) -> None:
    """A user ID without a name or a home, and an empty environment, make no difference."""
    with public_init.start(["/usr/bin/env", "-i", "/usr/bin/id", "-u"], inside=["env", "-i", *AS_NOBODY]) as running:
        running.expect(str(NOBODY))
        assert running.finish() == (0, b"", b"")
    worker = [public_python(), *python(WORKER)[1:]]
    with public_init.start(worker, inside=["env", "-i", *AS_NOBODY, "--no-new-privs"], env={}) as running:
        running.expect("ready")
        use(running)
        assert running.read_error() == b""


def test_main_child_of_another_user(init: Init, needs_root: None) -> None:
    """Without CAP_KILL, a signal to a main child that has changed its user fails with EPERM, kill(2): pyinit warns and
    continues.
    """
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
    """pyinit logs one warning for each call, and the command runs all the same."""
    number = number_of("prctl")
    result = run([launcher, "-p", "TERM", "--", "sh", "-c", "exit 12"],
                 preexec_fn=lambda: refuse_call(number, errno.EPERM))
    assert (result.code, result.out) == (12, b"")
    lines = result.err.decode().splitlines()
    assert ["parent-death signal: prctl(2) was refused" in line for line in lines] == [True, False]
    assert ["subreaper: prctl(2) was refused" in line for line in lines] == [False, True]
    assert all(line.startswith("pyinit: warning: ") for line in lines)


def test_main_child_whose_status_is_lost(launcher: str) -> None:
    """If wait(2) fails with ECHILD before the main child is reaped, its status is lost: pyinit warns and ends."""
    number = number_of("wait4")
    result = run([launcher, "-s", "--", *shell("exit 7")], preexec_fn=lambda: refuse_call(number, errno.ECHILD))
    assert (result.code, result.out, result.err.count(b"\n")) == (1, b"", 1)
    assert result.err.startswith(b"pyinit: warning: ") and b"status" in result.err


# The system calls by which some version of Python sleeps.
SLEEPS = ("nanosleep", "clock_nanosleep", "select", "pselect6", "poll", "ppoll")


def test_wait_that_keeps_failing(launcher: str, tmp_path: Path) -> None:
    """pyinit then polls for ended children, and sleeps between two tries, so that it does not use a whole CPU."""
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
