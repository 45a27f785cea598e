"""The command pyinit-zombies reports budgets, obeys thresholds, --watch and --output, refuses bad options in one line,
and handles files that it cannot read or write.
"""

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

from support.proc import free_user, is_blocked, read_status, waits_in
from support.processes import Running, python, run
from support.selection import amount
from support.settings import DEADLINE, PYTHON
from support.terminal import Terminal
from support.waiting import observe_for, wait_until
from support.zombie_scenes import (LEAVE, REPLACE, REPORT, groups_of, leave, needs_root, ready, report, report_in_steps,
                                   select_groups)
from test_broken_output import full_pipe


@contextmanager
def limited(pid: int, limit: int) -> Iterator[str]:
    """Move a process to a new cgroup with a limit of tasks; yield the cgroup's path as /proc/PID/cgroup has it."""
    base = "/sys/fs/cgroup/pids" if os.path.isdir("/sys/fs/cgroup/pids") else "/sys/fs/cgroup"
    if not os.path.exists(f"{base}/cgroup.procs"):
        pytest.skip("no cgroup file system")
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
    # It leaves zombies twice: the second time, when it writes "ready" again, it is in the cgroup.
    with ready(python(LEAVE.format(before="") + LEAVE.format(before=""), "7")) as running:
        with limited(running.pid, 20) as path:
            running.write(b"\n")
            running.expect("ready")
            budget, = (budget for budget in report()["budgets"] if budget["scope"] == path)
            assert (budget["budget"], budget["used"], budget["limit"]) == ("cgroup", 8, 20)


@needs_root
def test_budget_of_a_user() -> None:
    uid = free_user()
    user = ["setpriv", "--reuid", uid, "--clear-groups", "--bounding-set", "-all"]
    with ready(["prlimit", "--nproc=30:30", *user, *leave(6)]):
        budget, = (budget for budget in report()["budgets"] if budget["scope"] == f"uid {uid}")
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
        assert old.read() == "old"  # a reader that has opened the old file still reads all of it
        assert (output.stat().st_mode & 0o777, set(tmp_path.iterdir())) == (0o644, {output, link})
        assert link.is_symlink()


def test_output_does_not_wait_for_the_disk(tmp_path: Path) -> None:
    """A watch rewrites the report every few seconds; fsync(2) each time would load the disk for nothing."""
    script = "import os; os.fsync = None; from pyinit.zombies.cli import main; raise SystemExit(main())"
    result = run([PYTHON, "-c", script, "--output", tmp_path / "report"])
    assert (result.code, result.err) == (0, b"") and (tmp_path / "report").read_text()


@needs_root
@pytest.mark.parametrize("output, link, target", [("out", "out", "victim"), ("folder/victim", "folder", ".")])
def test_output_through_a_link_of_another_user(tmp_path: Path, output: str, link: str, target: str) -> None:
    tmp_path.chmod(0o1777)
    (tmp_path / "victim").write_text("old")
    (tmp_path / link).symlink_to(tmp_path / target)
    os.lchown(tmp_path / link, 54321, 54321)
    result = run([*REPORT, "--output", tmp_path / output])
    assert (result.code, result.out) == (3, b"")
    words = "is a link of user 54321, in a folder that others may write to; expected a path without such a link"
    assert result.err.decode() == f"pyinit-zombies: {tmp_path}/{link}: {words}\n"
    assert (tmp_path / "victim").read_text() == "old"


@needs_root
def test_link_that_comes_during_a_watch(tmp_path: Path) -> None:
    """Each report is written to the file that the path names then."""
    tmp_path.chmod(0o1777)
    victim, output, new = (tmp_path / name for name in ("victim", "out", "new"))
    victim.write_text("old")

    def has_ended() -> bool:
        if not output.is_symlink():  # a report has replaced it, or is the first
            new.symlink_to(victim)
            os.lchown(new, 54321, 54321)
            new.rename(output)
        return watch.process.poll() is not None

    with Running([*REPORT, "--watch", "0.01", "--output", output]) as watch:
        wait_until(output.exists, "the first report")
        wait_until(has_ended, "the end of the watch")
        result = watch.finish()
    assert (result.code, result.err.count(b"\n")) == (3, 1) and b"/out: is a link of user 54321" in result.err
    assert victim.read_text() == "old"


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
    """Without a report the exit code is 3 if a threshold was given."""
    with Running([*REPORT, "--watch", "1000", *options]) as watch:
        wait_until(lambda: catches(watch.pid, signal.SIGTERM), "its handler")
        os.kill(watch.pid, signal.SIGTERM)
        assert watch.finish()[:2] == (code, b"")


def test_ended_between_two_reports() -> None:
    """The signals are blocked, so one that comes just before the sleep stays pending and ends it. A handler would run
    only after the sleep.
    """
    with Running([*REPORT, "--watch", "1000"]) as watch:
        wait_until(lambda: is_blocked(watch.pid, signal.SIGTERM), "the sleep")
        os.kill(watch.pid, signal.SIGTERM)
        assert watch.finish()[:2] == (0, b"")


def test_watch_ends_while_nobody_reads() -> None:
    with Running([*REPORT, "--json", "--watch", "0.01"]) as watch:
        wait_until(lambda: "pipe" in waits_in(watch.pid), "the pipe to be full")
        os.kill(watch.pid, signal.SIGTERM)
        assert watch.process.wait(DEADLINE) == 0


def catches(pid: int, number: int) -> bool:
    """Say whether a process has a handler for a signal."""
    return bool(int(read_status(pid).get("SigCgt", "0"), 16) >> (number - 1) & 1)


def test_interrupt_at_any_moment() -> None:
    """From the report's first statement on, Ctrl-C ends it by the signal or with 130, without a message. Before that,
    CPython's own handler is set.
    """
    for step in range(0, 30, amount(3, 1)):
        with Running(REPORT, stdout=subprocess.DEVNULL) as running:
            for caught in (True, False):
                wait_until(lambda: running.process.poll() is not None
                           or catches(running.pid, signal.SIGINT) == caught, "the first statement")
            observe_for(step * 0.005)
            running.process.send_signal(signal.SIGINT)
            result = running.finish()
            assert result.err == b"" and result.code in (0, 130, -signal.SIGINT)


def test_interrupt_of_a_report_that_nobody_reads() -> None:
    """This one cannot have ended by itself before the interrupt."""
    reader, full = full_pipe()
    with Running(REPORT, stdout=full) as running:
        wait_until(lambda: "pipe" in waits_in(running.pid), "the report to be written")
        running.send(signal.SIGINT)
        assert running.process.wait(DEADLINE) == 130
    os.close(reader)
    os.close(full)


# Runs the report, and sends itself a signal when the report is written or a first signal ends it.
LATE_SIGNAL = """
import os, signal, sys
from pyinit.zombies import cli
def drop_output(drop=cli.drop_output):
    os.kill(os.getpid(), signal.SIGTERM)
    drop()
cli.drop_output = drop_output
code = cli.main()
os.kill(os.getpid(), signal.SIGINT)
sys.exit(code)
"""


@pytest.mark.parametrize("options", [[], ["--watch", "1000"]])
def test_signal_just_before_the_exit(options: list[str]) -> None:
    """It changes neither the exit code nor the output, also if it is the second one."""
    with Running([PYTHON, "-c", LATE_SIGNAL, *options]) as running:
        if options:
            wait_until(lambda: is_blocked(running.pid, signal.SIGTERM), "the sleep")
            running.send(signal.SIGTERM)
        result = running.finish()
    assert (result.code, result.err) == (0, b"")


def test_samples_less_one_are_the_reports() -> None:
    result = run([*REPORT, "--json", "--watch", "0.05", "--samples", "4"])
    assert result.out.count(b"\n") == 3


NUMBERS = ("--warn", "--critical", "--samples", "--top", "--watch", "--warn-time", "--critical-time")


@pytest.mark.parametrize("options, words", [
    (["--warn", "many"], "--warn: 'many': expected a number of zombies"),
    (["--warn", "0"], "--warn: '0': expected"),
    *(([option, value], f"{option}: {value!r}: expected")
      for option in NUMBERS for value in ("1_0", "")),
    # test_zombies.py has a table of numbers: the same functions read all options.
    *(pytest.param([option, value], f"{option}: {value!r}: expected", marks=pytest.mark.everything("further values"))
      for option in NUMBERS for value in (" 5", "5 ", "+5", "\u0665")),
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
    """On a terminal the report keeps to the width, and has colour unless TERM or NO_COLOR says otherwise."""
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
    """A parent in thousands of groups has a status file that is larger than most."""
    many = "signal.signal(signal.SIGCHLD, lambda *_: None)\nos.setgroups(range(10 ** 9, 10 ** 9 + 9000))"
    if os.geteuid():
        pytest.skip("needs root")
    with ready(leave(2, many)) as running:
        group, = groups_of(running.pid)
        assert group["parent"]["sigchld"] == "caught"


def test_zombies_that_are_about_to_be_reaped() -> None:
    """The report ignores a zombie that is reaped within a moment, although there is always another."""
    with ready(python(REPLACE)) as running, report_in_steps("time.sleep") as told:
        told.expect("sleeps 0.1")
        running.write(b"\n")
        running.expect("replaced")
        told.write(b"\n")
        assert select_groups(json.loads(told.read_line()), running.pid) == []


def test_closed_stdout() -> None:
    result = run(["/bin/sh", "-c", f"exec {' '.join(REPORT)} >&-"])
    assert (result.code, result.err.count(b"\n")) == (3, 1)
