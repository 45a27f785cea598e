"""The zombie report on real zombies, one test for each way in which they come to be."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support import (DEADLINE, NAMESPACE, PYTHON, ROOT, Running, Terminal, children_of, observe_for, python, read_stat,
                     read_status, run, shell, wait_until, zombies_of)

REPORT = [PYTHON, "-m", "pyinit.zombies"]

# Has children that have ended, says so, and waits for its stdin. {before} comes first.
LEAVE = """
import os, signal, sys
{before}
for _ in range(int(sys.argv[1])):
    child = os.fork() or os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
os.write(1, b"ready\\n")
os.read(0, 1)
"""

needs_root = pytest.mark.usefixtures("needs_root")


def leave(count: int, before: str = "") -> list[str]:
    """A command that does not wait for its children."""
    return python(LEAVE.format(before=before), str(count))


@contextmanager
def ready(argv: list, mode: str = "") -> Iterator[Running]:
    """A program that has said that it is ready."""
    with Running(argv, mode) as running:
        running.expect("ready")
        yield running


def report(*options) -> dict:
    """What the report says, as JSON."""
    result = run([*REPORT, "--json", *options])
    assert (result.code, result.err) == (0, b"")
    return json.loads(result.out)


def groups_of(pid: int, *options) -> list[dict]:
    """What the report says of the zombies of one parent."""
    return [group for group in report(*options)["groups"] if group["parent"]["pid"] == pid]


@pytest.mark.parametrize("before, sigchld", [
    ("", "default"),
    ("signal.signal(signal.SIGCHLD, lambda *_: None)", "caught"),
    ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])", "blocked"),
])
def test_parent_that_does_not_wait(before: str, sigchld: str) -> None:
    with ready(leave(3, before)) as running:
        group, = groups_of(running.pid)
        assert (group["zombies"], group["cause"], group["parent"]["sigchld"]) == (3, "not-waiting", sigchld)
        assert group["pids"] == zombies_of(running.pid)
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


def test_init_that_does_not_reap(namespaces: bool) -> None:
    if not namespaces:
        pytest.skip("no PID namespaces")
    with ready([*NAMESPACE, *leave(4)], "pid1") as running:
        group, = groups_of(running.pid)
        assert (group["zombies"], group["cause"]) == (4, "init-not-reaping")
        assert "shareProcessNamespace" in group["verdict"]


def test_report_inside_of_the_namespace(namespaces: bool) -> None:
    if not namespaces:
        pytest.skip("no PID namespaces")
    inside = f"import subprocess; subprocess.run({[*REPORT, '--json']!r}, cwd={str(ROOT)!r})"
    result = run([*NAMESPACE, *python(LEAVE.format(before="") + inside, "5")], stdin=subprocess.DEVNULL)
    told = json.loads(result.out.partition(b"ready\n")[2])
    group, = told["groups"]
    assert (group["zombies"], group["cause"], group["parent"]["pid"]) == (5, "init-not-reaping", 1)


# Attaches to a child of another process, ptrace(2) PTRACE_SEIZE, says so, and never waits for it.
TRACER = """
import ctypes, os, sys
assert ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None) == 0
os.write(1, b"ready\\n")
os.read(0, 1)
"""

# Waits for its child for ever; the child waits for stdin.
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
    """A process that not even SIGKILL ends: the freezer of cgroup v1 holds it in state D."""
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


# PID 1 of a namespace, its main thread ended, and a child that will be frozen.
DYING = "import os, time\nif os.fork() == 0: time.sleep(1000)\n" + HALF_ENDED


@needs_root
def test_namespace_that_is_torn_down() -> None:
    if not os.path.isdir("/sys/fs/cgroup/freezer"):
        pytest.skip("no freezer of cgroup v1: that of v2 lets SIGKILL through")
    with ready([*NAMESPACE, *python(DYING)], "pid1") as running:
        init = running.pid
        wait_until(lambda: read_stat(init)[0] == "Z", "the main thread to end")
        group, = groups_of(running.process.pid)
        assert group["cause"] == "threads-alive"  # alive as yet
        child, = children_of(init) or children_of_threads(init)
        with frozen(child):
            os.kill(init, signal.SIGKILL)
            wait_until(lambda: groups_of(running.process.pid)[0]["cause"] == "teardown", "the teardown to be seen")
            group, = groups_of(running.process.pid)
            assert [(process["pid"], process["state"]) for process in group["responsible"]] == [(child, "D")]
            assert f"({child})" in group["verdict"]


def children_of_threads(pid: int) -> list[int]:
    """The children of all threads of a process."""
    return [int(child) for thread in os.listdir(f"/proc/{pid}/task")
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split()]


# Has always a zombie; for each byte on stdin another one takes its place.
LATE = """
import os
def end():
    child = os.fork() or os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    return child
last = end()
os.write(1, b"ready\\n")
while os.read(0, 1):
    new = end()
    os.waitpid(last, 0)
    last = new
"""


def test_parent_that_waits_late() -> None:
    with ready(python(LATE)) as running, Running([*REPORT, "--json", "--watch", "0.3"]) as watch:
        # The first byte may meet a sample just being taken.
        for _ in range(20):
            running.write(b"\n")
            told = json.loads(watch.read_line())
            group = [group for group in told["groups"] if group["parent"]["pid"] == running.pid]
            if group and group[0]["cause"] == "reaped-slowly":
                break
        assert group[0]["cause"] == "reaped-slowly" and "not a leak" in group[0]["verdict"]


def test_growth_between_two_samples() -> None:
    grow = "import select\nwhile not select.select([0], [], [], 0.02)[0]: os.fork() or os._exit(0)\n"
    with ready(python(LEAVE.format(before="").replace("os.read(0, 1)\n", grow), "3")) as running:
        group, = groups_of(running.pid, "--watch", "1", "--samples", "2")
        assert group["growth_per_minute"] > 0 and group["zombies"] > 3
        assert group["cause"] == "not-waiting"


# Joins the PID namespace of a process, has a child there, and does not wait for it: setns(2).
JOIN = """
import ctypes, os, sys
assert ctypes.CDLL(None).setns(os.open(f"/proc/{sys.argv[1]}/ns/pid", os.O_RDONLY), 0) == 0
child = os.fork() or os._exit(0)
os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
os.write(1, b"ready\\n")
os.read(0, 1)
"""


@needs_root
def test_parent_outside_of_the_namespace(namespaces: bool) -> None:
    if not namespaces:
        pytest.skip("no PID namespaces")
    with ready([*NAMESPACE, *leave(0)], "pid1") as init, ready(python(JOIN, str(init.pid))) as outside:
        inside = ["nsenter", "--target", str(init.pid), "--pid", "--mount", "env", f"--chdir={ROOT}"]
        result = run([*inside, *REPORT, "--json"])
        group, = json.loads(result.out)["groups"]
        assert (group["zombies"], group["parent"]["pid"], group["parent"]["name"]) == (1, 0, None)
        assert "outside this PID namespace" in group["verdict"]
        # From out here it is to be seen.
        group, = groups_of(outside.pid)
        assert group["cause"] == "not-waiting"


@pytest.mark.parametrize("name", ["with space", "(par) ent) (hes", "new\nline", "\x1b[31mred", 'quo"te\\',
                                  "\udcff\udcfe"])
def test_names_with_anything_in_them(name: str) -> None:
    raw = os.fsencode(name)
    rename = f"open('/proc/self/comm', 'wb', 0).write({raw!r})"
    with ready(leave(2, rename)) as running:
        group, = groups_of(running.pid)
        shown = raw.decode("utf-8", "backslashreplace")
        assert (group["parent"]["name"], group["names"]) == (shown, {shown: 2})
        text = run(REPORT).out.decode()
        assert text.isascii() and all(line.isprintable() for line in text.split("\n"))
        metrics = run([*REPORT, "--prometheus"]).out.decode()
        escaped = shown.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        assert f'parent_pid="{running.pid}",parent="{escaped}",' in metrics


# Forks children that end at once, and waits for them, until its stdin ends.
FLICKER = """
import os, select
os.write(1, b"ready\\n")
while not select.select([0], [], [], 0)[0]:
    for child in [os.fork() or os._exit(0) for _ in range(50)]:
        os.waitpid(child, 0)
"""


def test_processes_that_vanish() -> None:
    with ready(python(FLICKER)) as running, ready(leave(1)) as parent:
        for _ in range(8):
            assert [group["zombies"] for group in groups_of(parent.pid)] == [1]
        assert running.process.poll() is None


@needs_root
@pytest.mark.parametrize("level", [1, 2])
def test_processes_that_are_hidden(level: int, namespaces: bool) -> None:
    if not namespaces:
        pytest.skip("no PID namespaces")
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


@needs_root
@pytest.mark.parametrize("form", [[], ["--json"], ["--prometheus"], ["--output"], ["--json", "--output"]], ids=" ".join)
@pytest.mark.parametrize("time", [["--warn-time", "6h"], ["--critical-time", "6h"],
                                  ["--warn-time", "6h", "--critical-time", "1h", "--warn", "1000000"]], ids=" ".join)
def test_limits_that_cannot_be_read(form: list[str], time: list[str], namespaces: bool, tmp_path: Path) -> None:
    """A /proc of processes alone, proc(5) subset=pid, has no limit of the machine."""
    if not namespaces:
        pytest.skip("no PID namespaces")
    proc = tmp_path / "proc"
    proc.mkdir()
    argv = ["unshare", "--mount", *shell('mount -t proc -o subset=pid proc "$1" && shift && exec "$@"', str(proc)),
            *REPORT, "--proc", proc, *form, *([tmp_path / "report"] if "--output" in form else [])]
    result = run([*argv, *time])
    assert (result.code, result.err) == (3, b"")
    if "--output" in form or not form:
        first = result.out.partition(b"\n")[0]
        assert first.startswith(b"ZOMBIES UNKNOWN: ") and b"pid_max and threads_max could not be read | " in first
    assert run([*argv, "--warn", "1000000"]).code == 0


@contextmanager
def limited(pid: int, limit: int) -> Iterator[str]:
    """A cgroup for a process, with so many tasks at most; its path."""
    base = "/sys/fs/cgroup/pids" if os.path.isdir("/sys/fs/cgroup/pids") else "/sys/fs/cgroup"
    folder = Path(tempfile.mkdtemp(prefix="pyinit-test-", dir=base))
    try:
        (folder / "pids.max").write_text(str(limit))
        (folder / "cgroup.procs").write_text(str(pid))
        yield f"/{folder.name}"
    finally:
        (Path(base) / "cgroup.procs").write_text(str(pid))
        wait_until(lambda: not (folder / "cgroup.procs").read_text(), "the cgroup to be empty")
        folder.rmdir()


@needs_root
def test_budget_of_a_cgroup() -> None:
    # The zombies come when it is in the cgroup: it says "ready" once more.
    with ready(python(LEAVE.format(before="") + LEAVE.format(before=""), "7")) as running:
        with limited(running.pid, 20) as path:
            running.write(b"\n")
            running.expect("ready")
            budget, = (budget for budget in report()["budgets"] if budget["scope"] == path)
            assert (budget["budget"], budget["used"], budget["limit"]) == ("cgroup", 8, 20)


@needs_root
def test_budget_of_a_user() -> None:
    # A user whom nobody else is.
    user = ["setpriv", "--reuid", "54321", "--clear-groups", "--bounding-set", "-all"]
    with ready(["prlimit", "--nproc=30:30", *user, *leave(6)]):
        budget, = (budget for budget in report()["budgets"] if budget["scope"] == "uid 54321")
        assert (budget["budget"], budget["used"], budget["limit"]) == ("nproc", 7, 30)


def test_thresholds() -> None:
    with ready(leave(5)):
        for options, code, word in ((["--warn", "1000000"], 0, b"OK"),
                                    (["--warn", "5"], 1, b"WARNING"),
                                    (["--warn", "1", "--critical", "5"], 2, b"CRITICAL")):
            result = run([*REPORT, *options])
            assert (result.code, result.out.startswith(b"ZOMBIES " + word + b": ")) == (code, True), result


def test_output_is_replaced_whole(tmp_path: Path) -> None:
    output, link = tmp_path / "zombies.prom", tmp_path / "link"
    output.write_text("old")
    link.symlink_to(output)
    with ready(leave(2)) as running, open(output) as old:
        result = run([*REPORT, "--prometheus", "--output", link, "--warn", "1"])
        assert (result.code, result.out.count(b"\n"), result.out[:16]) == (1, 1, b"ZOMBIES WARNING:")
        assert f'parent_pid="{running.pid}"' in output.read_text()
        assert old.read() == "old"  # whoever reads has the whole of one
        assert (output.stat().st_mode & 0o777, set(tmp_path.iterdir())) == (0o644, {output, link})
        assert link.is_symlink()


def test_watch_ends_by_a_signal() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with ready(leave(1)), Running([*REPORT, "--json", "--watch", "0.05"]) as watch:
            first, second = (json.loads(watch.read_line()) for _ in range(2))
            assert second["interval_seconds"] > 0 and first["time"] < second["time"]
            os.kill(watch.pid, number)
            result = watch.finish()
            assert (result.code, result.err) == (0, b"")


@pytest.mark.parametrize("options, code", [([], 0), (["--warn", "1"], 3)])
def test_ended_before_the_first_report(options: list[str], code: int) -> None:
    """No report is no good news."""
    with Running([*REPORT, "--watch", "1000", *options]) as watch:
        wait_until(lambda: catches(watch.pid, signal.SIGTERM), "its handler")
        os.kill(watch.pid, signal.SIGTERM)
        assert watch.finish()[:2] == (code, b"")


def test_watch_ends_while_nobody_reads() -> None:
    with Running([*REPORT, "--json", "--watch", "0.01"]) as watch:
        wait_until(lambda: "pipe" in Path(f"/proc/{watch.pid}/wchan").read_text(), "the pipe to be full")
        os.kill(watch.pid, signal.SIGTERM)
        assert watch.process.wait(DEADLINE) == 0


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    return bool(int(read_status(pid).get("SigCgt", "0"), 16) >> (number - 1) & 1)


def test_interrupt_at_any_moment() -> None:
    """Ctrl-C from the report's first statement on, before which CPython catches it: by the signal, or 130; no word."""
    codes = set()
    for step in range(30):
        with Running(REPORT, stdout=subprocess.DEVNULL) as running:
            for caught in (True, False):
                wait_until(lambda: running.process.poll() is not None
                           or catches(running.pid, signal.SIGINT) == caught, "the first statement")
            observe_for(step * 0.005)
            running.process.send_signal(signal.SIGINT)
            result = running.finish()
            assert result.err == b""
            codes.add(result.code)
    assert codes <= {0, 130, -signal.SIGINT} and codes - {0}


def test_samples_less_one_are_the_reports() -> None:
    result = run([*REPORT, "--json", "--watch", "0.05", "--samples", "4"])
    assert result.out.count(b"\n") == 3


@pytest.mark.parametrize("options, words", [
    (["--warn", "many"], "--warn: 'many': expected a number of zombies"),
    (["--warn", "0"], "--warn: '0': expected"),
    *(([option, value], f"{option}: {value!r}: expected")
      for option in ("--warn", "--critical", "--samples", "--top", "--watch", "--warn-time", "--critical-time")
      for value in ("1_0", " 5", "5 ", "+5", "\u0665", "")),
    (["--critical-time", "soon"], "--critical-time: 'soon': expected such as 30m"),
    (["--watch", "-1"], "--watch"),
    (["--watch", "0"], "--watch: '0': expected a duration above 0"),
    (["--samples", "2"], "--samples: 2 samples need --watch"),
    (["--samples", "1", "--watch", "1"], "--samples: 1 sample has nothing to be compared with"),
    (["--json", "--prometheus"], "--prometheus: not allowed with argument --json"),
    (["--proc", "/nowhere"], "--proc /nowhere: No such file or directory; expected a mounted /proc"),
    (["--proc", "/etc"], "--proc /etc: has no processes; expected a mounted /proc"),
    (["--cgroup", "/nowhere"], "--cgroup /nowhere: is no folder; expected that of a cgroup file system"),
    (["--output", "/dev/null"], "--output /dev/null: is no file; expected the path of one"),
    (["--output", "/"], "--output /: is no file; expected the path of one"),
    (["--warn", "10", "--critical", "5"], "--critical: 5 comes before --warn 10"),
    (["--warn-time", "1h", "--critical-time", "2h"], "--critical-time: comes before --warn-time"),
    (["--watch", "9" * 400], "expected a duration above 0"),
    (["--warn", "9" * 400], "expected a number of zombies"),
    (["--output", "/nowhere/x"], "/nowhere/x: cannot write it: No such file or directory"),
    (["--nonsense"], "unrecognized arguments: --nonsense"),
])
def test_bad_input(options: list[str], words: str) -> None:
    result = run([*REPORT, *options])
    assert (result.code, result.out, result.err.count(b"\n")) == (3, b"", 1)
    assert result.err.startswith(b"pyinit-zombies: ") and words in result.err.decode()


def test_reader_that_has_enough() -> None:
    with ready(leave(1)):
        result = run(["/bin/sh", "-c", f"{' '.join(REPORT)} --json --watch 0.01 --samples 200 | head -c 1"])
        assert (result.out, result.err) == (b"{", b"")


@pytest.mark.parametrize("variables, colour", [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False),
                                               ({"TERM": "dumb"}, False), ({"TERM": "xterm", "NO_COLOR": ""}, True)])
def test_on_a_terminal(variables: dict[str, str], colour: bool) -> None:
    """Its width is kept to, and there is colour, unless that is not wanted."""
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    with ready(leave(3)), Terminal() as terminal:
        fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 60, 0, 0))
        with terminal.start(REPORT, env={**environment, **variables}):
            lines = terminal.read_until(b"SCOPE").decode().split("\r\n")
    plain = [re.sub(r"\x1b\[\d*m", "", line) for line in lines]
    assert any(len(line) == 60 for line in plain) and all(len(line) <= 60 for line in plain)
    assert (plain != lines) == colour


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_metrics_are_utf_8(encoding: str) -> None:
    name = "caf\u00e9"
    with ready(leave(1, f"open('/proc/self/comm', 'wb', 0).write({name.encode()!r})")) as running:
        result = run([*REPORT, "--prometheus"], env={**os.environ, "PYTHONIOENCODING": encoding})
        assert f'parent_pid="{running.pid}",parent="{name}",'.encode() in result.out


def test_parent_in_thousands_of_groups() -> None:
    """Its status file is larger than most."""
    many = "signal.signal(signal.SIGCHLD, lambda *_: None)\nos.setgroups(range(10 ** 9, 10 ** 9 + 9000))"
    if os.geteuid():
        pytest.skip("needs root")
    with ready(leave(2, many)) as running:
        group, = groups_of(running.pid)
        assert group["parent"]["sigchld"] == "caught"


# Waits for each child a little after it has ended.
SOON = """
import os, select, time
os.write(1, b"ready\\n")
while not select.select([0], [], [], 0)[0]:
    child = os.fork() or os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    time.sleep(0.01)
    os.waitpid(child, 0)
"""


def test_zombies_that_are_about_to_be_reaped() -> None:
    """Nearly always there is one, and none of them stays."""
    with ready(python(SOON)) as running:
        wait_until(lambda: zombies_of(running.pid), "a zombie")
        assert [groups_of(running.pid) for _ in range(5)] == [[]] * 5


def test_closed_stdout() -> None:
    result = run(["/bin/sh", "-c", f"exec {' '.join(REPORT)} >&-"])
    assert (result.code, result.err.count(b"\n")) == (3, 1)
