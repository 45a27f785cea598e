"""The zombie report names the right cause of real zombies, with a test for each way to leave them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.proc import children_of, read_stat, read_status, zombies_of
from support.processes import python, run, shell
from support.selection import amount
from support.settings import NAMESPACE, ROOT
from support.waiting import wait_until
from support.zombie_scenes import (LEAVE, REPLACE, REPORT, groups_of, leave, needs_root, ready, report, report_in_steps,
                                   select_groups)


@pytest.mark.parametrize("before, sigchld", [
    ("", "default"),
    ("signal.signal(signal.SIGCHLD, lambda *_: None)", "caught"),
    ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])", "blocked"),
])
def test_parent_that_does_not_wait(before: str, sigchld: str) -> None:
    with ready(leave(3, before)) as running:
        group, = groups_of(running.pid)
        assert (group["zombies"], group["cause"], group["parent"]["sigchld"]) == (3, "not-waiting", sigchld)
        assert group["pids"] == sorted(zombies_of(running.pid))
        assert group["names"] == {read_status(running.pid)["Name"]: 3}
        assert "no init can reap them" in group["verdict"]
        assert [link["pid"] for link in group["chain"]][0] == running.pid
        assert [link["pid"] for link in group["chain"]][-1] == 1
        assert "os.waitid" in group["parent"]["command"]


def test_stopped_parent() -> None:
    with ready(leave(2)) as running:
        os.kill(running.pid, signal.SIGSTOP)
        wait_until(lambda: read_stat(running.pid)[0] == "T", "the parent to be stopped")
        group, = groups_of(running.pid)
        assert (group["zombies"], group["cause"]) == (2, "parent-stopped")
        os.kill(running.pid, signal.SIGCONT)


def test_init_that_does_not_reap(namespaces: None) -> None:
    with ready([*NAMESPACE, *leave(4)], "pid1") as running:
        group, = groups_of(running.pid)
        assert (group["zombies"], group["cause"]) == (4, "init-not-reaping")
        assert "shareProcessNamespace" in group["verdict"]


def test_report_inside_of_the_namespace(namespaces: None) -> None:
    inside = f"import subprocess; subprocess.run({[*REPORT, '--json']!r}, cwd={str(ROOT)!r})"
    result = run([*NAMESPACE, *python(LEAVE.format(before="") + inside, "5")], stdin=subprocess.DEVNULL)
    told = json.loads(result.out.partition(b"ready\n")[2])
    group, = told["groups"]
    assert (group["zombies"], group["cause"], group["parent"]["pid"]) == (5, "init-not-reaping", 1)


# Attaches to a child of another process, ptrace(2) PTRACE_SEIZE, writes "ready", and never waits for it.
TRACER = """
import ctypes, os, sys
assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None) == 0
os.write(1, b"ready\\n")
os.read(0, 1)
"""

# Waits for its child, which waits for stdin.
WAITING = """
import os
child = os.fork() or (os.read(0, 1), os._exit(0))
os.write(1, b"ready\\n")
os.waitpid(child, 0)
"""


def test_traced_zombie() -> None:
    with ready(python(WAITING)) as parent:
        child, = children_of(parent.pid)
        with ready(python(TRACER, str(child))) as tracer:
            parent.write(b"\n")
            wait_until(lambda: read_stat(child)[0] == "Z", "the child to end")
            group, = groups_of(parent.pid)
            assert (group["zombies"], group["cause"]) == (1, "traced")
            assert [process["pid"] for process in group["responsible"]] == [tracer.pid]
            assert f"({tracer.pid})" in group["verdict"]


# Only the main thread ends: exit(2), not exit_group(2).
HALF_ENDED = """
import ctypes, os, platform, threading
threading.Thread(target=lambda: (os.write(1, b"ready\\n"), os.read(0, 1))).start()
ctypes.CDLL(None).syscall({"x86_64": 60, "aarch64": 93}[platform.machine()], 0)
"""


def test_leader_of_live_threads() -> None:
    with ready(python(HALF_ENDED)) as running:
        wait_until(lambda: read_stat(running.pid)[0] == "Z", "the main thread to end")
        group, = (group for group in groups_of(os.getpid()) if running.pid in group["pids"])
        assert (group["zombies"], group["cause"]) == (1, "threads-alive")
        assert "not a leak" in group["verdict"] and f"({running.pid})" in group["verdict"]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Hold a process in state D by the freezer of cgroup v1, so that not even SIGKILL ends it."""
    folder = Path(tempfile.mkdtemp(prefix="pyinit-test-", dir="/sys/fs/cgroup/freezer"))
    try:
        (folder / "cgroup.procs").write_text(str(pid))
        (folder / "freezer.state").write_text("FROZEN")
        wait_until(lambda: (folder / "freezer.state").read_text() == "FROZEN\n", "the process to be frozen")
        yield
    finally:
        (folder / "freezer.state").write_text("THAWED")
        wait_until(lambda: not (folder / "cgroup.procs").read_text(), "the process to end")
        folder.rmdir()


# PID 1 of a namespace, whose main thread ends, with a child that will be frozen.
DYING = "import os, time\nif os.fork() == 0: time.sleep(1000)\n" + HALF_ENDED


@needs_root
def test_namespace_that_is_torn_down(namespaces: None) -> None:
    if not os.path.isdir("/sys/fs/cgroup/freezer"):
        pytest.skip("no freezer of cgroup v1: that of v2 lets SIGKILL through")
    with ready([*NAMESPACE, *python(DYING)], "pid1") as running:
        init = running.pid
        wait_until(lambda: read_stat(init)[0] == "Z", "the main thread to end")
        group, = groups_of(running.process.pid)
        assert group["cause"] == "threads-alive"  # the process is still alive
        child, = children_of(init) or children_of_threads(init)
        with frozen(child):
            os.kill(init, signal.SIGKILL)
            wait_until(lambda: groups_of(running.process.pid)[0]["cause"] == "teardown", "the teardown to be seen")
            group, = groups_of(running.process.pid)
            assert [(process["pid"], process["state"]) for process in group["responsible"]] == [(child, "D")]
            assert f"({child})" in group["verdict"]


def children_of_threads(pid: int) -> list[int]:
    """Return the children of all threads of a process."""
    return [int(child) for thread in os.listdir(f"/proc/{pid}/task")
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]


def test_parent_that_waits_late() -> None:
    with ready(python(REPLACE)) as running, report_in_steps("cli.sleep", "--watch", "0.3") as watch:
        assert watch.read_line().startswith("sleeps ")
        running.write(b"\n")
        running.expect("replaced")
        watch.write(b"\n")
        group, = select_groups(json.loads(watch.read_line()), running.pid)
        assert group["cause"] == "reaped-slowly" and "not a leak" in group["verdict"]


def test_growth_between_two_samples() -> None:
    # It leaves zombies twice.
    scene = python(LEAVE.format(before="") + LEAVE.format(before=""), "3")
    with ready(scene) as running, report_in_steps("cli.sleep", "--watch", "1", "--samples", "2") as watch:
        assert watch.read_line().startswith("sleeps ")
        running.write(b"\n")
        running.expect("ready")
        watch.write(b"\n")
        group, = select_groups(json.loads(watch.read_line()), running.pid)
        assert group["growth_per_minute"] > 0 and group["zombies"] == 6
        assert group["cause"] == "not-waiting"


# Makes a child in the PID namespace of a process, setns(2), and does not wait for it.
JOIN = """
import ctypes, os, sys
assert ctypes.CDLL(None).setns(os.open(f"/proc/{sys.argv[1]}/ns/pid", os.O_RDONLY), 0) == 0
child = os.fork() or os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
os.write(1, b"ready\\n")
os.read(0, 1)
"""


@needs_root
def test_parent_outside_of_the_namespace(namespaces: None) -> None:
    with ready([*NAMESPACE, *leave(0)], "pid1") as init, ready(python(JOIN, str(init.pid))) as outside:
        inside = ["nsenter", "--target", str(init.pid), "--pid", "--mount", "env", f"--chdir={ROOT}"]
        result = run([*inside, *REPORT, "--json"])
        group, = json.loads(result.out)["groups"]
        assert (group["zombies"], group["parent"]["pid"], group["parent"]["name"]) == (1, 0, None)
        assert "outside this PID namespace" in group["verdict"]
        # Outside of the namespace the parent can be seen.
        group, = groups_of(outside.pid)
        assert group["cause"] == "not-waiting"


NAMES = ["with space", "(par) ent) (hes", "new\nline", "\x1b[31mred", 'quo"te\\', "\udcff\udcfe"]


def test_names_with_anything_in_them() -> None:
    """Names of any bytes are escaped in each form. One report has all of them, as each report takes a moment."""
    with ExitStack() as stack:
        parents = {}
        for raw in map(os.fsencode, NAMES):
            rename = f"open('/proc/self/comm', 'wb', 0).write({raw!r})"
            parents[raw.decode("utf-8", "backslashreplace")] = stack.enter_context(ready(leave(2, rename))).pid
        groups = {group["parent"]["pid"]: group for group in report()["groups"]}
        text = run([*REPORT, "--top", "1000"]).out.decode()
        assert text.isascii() and all(line.isprintable() for line in text.split("\n"))
        metrics = run([*REPORT, "--prometheus"]).out.decode()
        for shown, pid in parents.items():
            assert (groups[pid]["parent"]["name"], groups[pid]["names"]) == (shown, {shown: 2})
            assert str(pid) in text
            escaped = shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
            assert f'parent_pid="{pid}",parent="{escaped}",' in metrics


# Forks children that end at once, and waits for them, until there is input on its stdin.
FLICKER = """
import os, select
os.write(1, b"ready\\n")
while not select.select([0], [], [], 0)[0]:
    for child in [os.fork() or os._exit(0) for _ in range(50)]:
        os.waitpid(child, 0)
"""


def test_processes_that_vanish() -> None:
    with ready(python(FLICKER)) as running, ready(leave(1)) as parent:
        for _ in range(amount(3, 8)):
            assert [group["zombies"] for group in groups_of(parent.pid)] == [1]
        assert running.process.poll() is None


@needs_root
@pytest.mark.parametrize("level", [1, 2])
def test_processes_that_are_hidden(level: int, namespaces: None) -> None:
    with tempfile.TemporaryDirectory(prefix="pyinit-test-") as folder:
        os.chmod(folder, 0o755)
        mount = f"import os; os.system('mount -t proc -o hidepid={level} proc {folder}')"
        with ready([*NAMESPACE, "--propagation", "private", *leave(2, mount)], "pid1") as running:
            others = ["nsenter", "--target", str(running.pid), "--pid", "--mount", "setpriv", "--reuid", "65534",
                      "--regid", "65534", "--clear-groups", "--bounding-set", "-all"]
            code = "import sys; sys.path.insert(0, sys.argv.pop(1)); from pyinit.zombies.cli import main; main()"
            result = run([*others, "/usr/bin/python3", "-ISc", code, str(ROOT), "--json", "--proc", folder], cwd="/")
            told = json.loads(result.out)
            assert (told["zombies"], result.err) == (0, b"")
            assert told["unreadable"] == (3 if level == 1 else 0)


TIMES = [["--warn-time", "6h"], ["--critical-time", "6h"],
         ["--warn-time", "6h", "--critical-time", "1h", "--warn", "1000000"]]


@needs_root
@pytest.mark.parametrize("time, form", [
    # The exit code does not depend on the form: a plain run has one form for each time and one time for each form.
    pytest.param(time, form, id=" ".join(time + form),
                 marks=[pytest.mark.everything("further values")] if time != TIMES[0] and form else [])
    for time in TIMES for form in ([], ["--json"], ["--prometheus"], ["--output"], ["--json", "--output"])])
def test_limits_that_cannot_be_read(form: list[str], time: list[str], namespaces: None, tmp_path: Path) -> None:
    """A /proc with only processes, proc(5) subset=pid, does not have the machine's limits.

    It is that of a new PID namespace: zombies of other tests that grow meanwhile would be critical.
    """
    proc = tmp_path / "proc"
    proc.mkdir()
    mount = shell('mount -t proc -o subset=pid proc "$1" && shift && exec "$@"', str(proc))
    argv = [*NAMESPACE, *mount, *REPORT, "--proc", proc, *form, *([tmp_path / "report"] if "--output" in form else [])]
    result = run([*argv, *time])
    assert (result.code, result.err) == (3, b"")
    if "--output" in form or not form:
        first = result.out.partition(b"\n")[0]
        assert first.startswith(b"ZOMBIES UNKNOWN: ") and b"pid_max and threads_max could not be read | " in first
    assert run([*argv, "--warn", "1000000"]).code == 0
