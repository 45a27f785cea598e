"""--stats and --stats-signal write one line of JSON with the right counts, at the end or at a signal."""

from __future__ import annotations

import errno
import json
import os
import signal
from pathlib import Path

import pytest

from support.inits import Init
from support.orphans import CLONES_FIRST, ON_DEMAND, ONE_BY_ONE, TOGETHER, end_with_orphans, run_scene, scene
from support.proc import children_of, pending_signals, stop, zombies_of
from support.processes import python, run, shell, source
from support.sandbox import number_of, refuse_call
from support.settings import NAMESPACE
from support.waiting import wait_until

BOTH_REAPERS = True

FIELDS = ["uptime_seconds", "orphans_reaped", "most_zombies_in_one_drain", "signals_forwarded", "main_child",
          "orphans_by_command"]
# Leaves an orphan for each name on the command line, given in hexadecimal; the orphan sets it by prctl(2) PR_SET_NAME.
NAMED = """
for name in sys.argv[2:]:
    def act():
        import ctypes
        ctypes.CDLL(None).prctl(15, ctypes.create_string_buffer(bytes.fromhex(name)), 0, 0, 0)
    orphan(act)
"""
# Makes its parent its tracer, ptrace(2), and executes a program, at which the kernel stops it.
TRACED = source("traced")


def parse(line: bytes) -> dict:
    """Check that the statistics are one line with every field, and return them."""
    assert line.count(b"\n") == 1 and line.endswith(b"\n"), line
    stats = json.loads(line)
    assert list(stats) == FIELDS
    assert stats["uptime_seconds"] >= 0
    return stats


@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS], ids=errno.errorcode.get)
def test_looking_is_refused(init: Init, error: int) -> None:
    """In a sandbox without waitid(2) orphans are counted, but not by name."""
    call = number_of("waitid")
    stats = parse(run_scene(init, scene(ONE_BY_ONE, 3), ["--stats"], preexec_fn=lambda: refuse_call(call, error)))
    assert stats["main_child"]["exit_code"] == 57
    counted = init.reaper == "wait"
    assert (stats["orphans_reaped"], stats["orphans_by_command"]) == ((3, {"?": 3}) if counted else (None, None))


def test_a_storm_of_known_size(init: Init) -> None:
    """The loop counts every orphan. Kernel reaping counts none."""
    for body, count in ((ONE_BY_ONE, 500), (TOGETHER, 200)):
        stats = parse(run_scene(init, scene(body, count), ["--stats"]))
        loop = init.reaper == "wait"
        assert stats["orphans_reaped"] == (count if loop else None)
        if loop:
            assert 1 <= stats["most_zombies_in_one_drain"] <= count + 1
            assert sum(stats["orphans_by_command"].values()) == count
            assert len(stats["orphans_by_command"]) == 1
        else:
            assert (stats["most_zombies_in_one_drain"], stats["orphans_by_command"]) == (None, None)
        assert stats["signals_forwarded"] == {}
        assert (stats["main_child"]["exit_code"], stats["main_child"]["signal"]) == (57, None)


def test_zombies_in_one_drain(mode: str, launcher: str) -> None:
    """All orphans that end while pyinit is stopped are reaped in one drain."""
    with Init(mode, [launcher]).start(scene(ON_DEMAND, 70), ["--stats"]) as running:
        running.expect("ready")
        pid = running.pid
        stop(pid)
        running.write(b"\n")
        running.expect("done")
        wait_until(lambda: len(zombies_of(pid)) == 70, "the zombies")
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: len(children_of(pid)) == 1, "all to be reaped")
        # Else the end of the main child may come before it: SIGCHLD has the lower number.
        wait_until(lambda: not pending_signals(pid), "SIGCONT to be taken")
        stats = parse(running.finish().err)
        assert (stats["orphans_reaped"], stats["most_zombies_in_one_drain"]) == (70, 70)
        assert stats["signals_forwarded"] == {"SIGCONT": 1}


def test_what_ended_with_the_main_child_is_counted(mode: str, launcher: str) -> None:
    with Init(mode, [launcher]).start(scene(ON_DEMAND, 70), ["--stats"]) as running:
        running.expect("ready")
        end_with_orphans(running, running.pid, 70)
        result = running.finish()
        assert (result.code, parse(result.err)["orphans_reaped"]) == (57, 70)


def test_signal_for_the_statistics_is_no_termination(init: Init) -> None:
    """A signal for the statistics is not forwarded, and so does not start --kill-after."""
    options = ["--stats", "--stats-signal", "TERM", "--kill-after", "0"]
    with init.start(shell("echo ready; read line; exit 5"), options) as running:
        running.expect("ready")
        running.send(signal.SIGTERM)
        wait_until(lambda: running.read_error().count(b"\n") == 1, "the statistics")
        running.send(signal.SIGWINCH)  # once pyinit has taken it, a deadline would have passed
        wait_until(lambda: not pending_signals(running.pid), "it to be taken")
        running.write(b"\n")
        assert running.finish().code == 5


NAMES = {b"two words": "two words", b'a "quote"': 'a "quote"', b"back\\slash": "back\\slash", b"a) S 1 (b": "a) S 1 (b",
         b"caf\xc3\xa9": "caf\u00e9", b"bad \xff\xfe": "bad \\xff\\xfe", b"tab\there": "tab\there",
         b"new\nline": "new\nline", b"": "", b"fifteen letters": "fifteen letters"}


def test_commands_by_name(mode: str, launcher: str) -> None:
    """Orphans are counted by the zombie's own name, which may have any bytes."""
    names = [name.hex() for name in NAMES]
    stats = parse(run_scene(Init(mode, [launcher]), [*scene(NAMED, 0), *names], ["--stats"]))
    assert stats["orphans_by_command"] == {name: 1 for name in NAMES.values()}
    assert stats["orphans_reaped"] == len(NAMES)


def test_commands_under_a_foreign_proc(launcher: str, namespaces: None) -> None:
    """In the /proc of another PID namespace an orphan's PID is another process's, so its name is not read there."""
    init = Init("pid1", [launcher])
    init.prefix = lambda: [argument for argument in NAMESPACE if argument != "--mount-proc"]  # type: ignore[assignment]
    stats = parse(run_scene(init, scene(ONE_BY_ONE, 3), ["--stats"]))
    assert (stats["orphans_reaped"], stats["orphans_by_command"]) == (3, {"?": 3})


def test_the_ten_that_left_most(mode: str, launcher: str) -> None:
    names = [b"many".hex()] * 5 + [b"some".hex()] * 3 + [f"c{i:02}".encode().hex() for i in range(20)]
    stats = parse(run_scene(Init(mode, [launcher]), [*scene(NAMED, 0), *names], ["--stats"]))
    assert list(stats["orphans_by_command"].items())[:3] == [("many", 5), ("some", 3), ("c00", 1)]
    assert len(stats["orphans_by_command"]) == 10
    assert stats["orphans_reaped"] == 28


def test_signals_and_status(init: Init) -> None:
    code = "import os, signal; signal.pthread_sigmask(0, {10, 34, 36}); os.write(1, b'ready\\n'); signal.pause()"
    with init.start(python(code), ["--stats", "--rewrite", "HUP:10", "--rewrite", "USR2:none"]) as running:
        running.expect("ready")
        for number in (10, 1, 12, 36, 36, 34):
            running.send(number)
        # SIGTERM would overtake the real-time signals, signal(7).
        wait_until(lambda: not pending_signals(running.pid), "all to be taken")
        running.send(15)
        result = running.finish()
        assert result.code == 143
        stats = parse(result.err)
        assert stats["signals_forwarded"] == {"SIGUSR1": 2, "SIGTERM": 1, "SIGRTMIN": 1, "SIGRTMIN+2": 2}
        assert (stats["main_child"]["exit_code"], stats["main_child"]["signal"]) == (143, "SIGTERM")
        if init.mode == "pid1":
            assert stats["main_child"]["pid"] > 1


def test_to_a_file(init: Init, tmp_path: Path) -> None:
    """Each run appends a line to the file."""
    path = tmp_path / "with space.json"
    for code in (0, 3):
        assert init.run(shell(f"exit {code}"), [f"--stats={path}"]) == (code, b"", b"")
    lines = path.read_bytes().splitlines(True)
    assert [parse(line)["main_child"]["exit_code"] for line in lines] == [0, 3]


@pytest.mark.parametrize("path, reason", [("/nowhere/x", "No such file"), ("/", "Is a directory"),
                                          ("/dev/full", "No space left"), ("/proc/self/comm/x", "Not a directory")])
def test_unwritable_file(init: Init, path: str, reason: str) -> None:
    """pyinit writes the statistics into its one warning, and keeps the exit code."""
    result = init.run(shell("exit 9"), [f"--stats={path}"])
    message = result.err.decode()
    assert (result.code, message.count("\n")) == (9, 1)
    assert message.startswith(f"pyinit: warning: cannot write the statistics to {path}: {reason}")
    assert '"exit_code": 9' in message


def test_pipe_that_nobody_reads(init: Init, tmp_path: Path) -> None:
    """pyinit does not wait for a reader of the pipe, as it could not reap in the meantime."""
    os.mkfifo(tmp_path / "pipe")
    result = init.run(shell("exit 9"), [f"--stats={tmp_path}/pipe"])
    assert (result.code, result.err.count(b"\n")) == (9, 1)
    assert result.err.startswith(b"pyinit: warning: cannot write the statistics to ")


def test_stderr_cannot_be_written(init: Init) -> None:
    for target in ("2>&-", "2>/dev/full"):
        assert init.run(shell("exit 9"), ["--stats"], inside=shell(f'exec "$@" {target}')).code == 9


def test_file_size_limit(init: Init, tmp_path: Path) -> None:
    """A write raises SIGXFSZ in pyinit, setrlimit(2), which does not kill it."""
    result = init.run(shell("exit 9"), [f"--stats={tmp_path}/x"], inside=["prlimit", "--fsize=0"])
    assert result.code == 9


def test_when_a_signal_asks(init: Init, tmp_path: Path) -> None:
    """The signal is not forwarded: SIGUSR1 would end the main child."""
    path = tmp_path / "stats"
    with init.start(shell("echo ready; read line; exit 4"), ["--stats-signal", "USR1", f"--stats={path}"]) as running:
        running.expect("ready")
        for count in (1, 2):
            running.send(signal.SIGUSR1)
            wait_until(lambda: path.exists() and len(path.read_bytes().splitlines()) == count, "the line")
        assert running.finish() == (4, b"", b"")
    first, second, last = map(parse, path.read_bytes().splitlines(True))
    assert (first["main_child"]["exit_code"], last["main_child"]["exit_code"]) == (None, 4)
    assert last["signals_forwarded"] == {}


def test_when_a_signal_asks_only(init: Init) -> None:
    """Without --stats pyinit writes nothing at the end."""
    with init.start(shell("echo ready; read line; exit 4"), ["--stats-signal", "RTMIN+4"]) as running:
        running.expect("ready")
        running.send(signal.SIGRTMIN + 4)
        wait_until(lambda: b"\n" in running.read_error(), "the line")
        result = running.finish()
        assert result.code == 4
        parse(result.err)


def test_clones_had_before_exec(mode: str, launcher: str) -> None:
    """The loop that counts also reaps children whose exit signal is not SIGCHLD."""
    one = Init(mode, [launcher])
    with one.start(shell("echo ready; read line"), ["--stats"],
                   inside=python(CLONES_FIRST, str(number_of("clone")))) as running:
        running.expect("ready")
        wait_until(lambda: len(children_of(running.pid)) == 1, "the zombies to be reaped")


def test_nothing_is_said_unasked(init: Init) -> None:
    assert init.run(shell("( : & ); exit 4")) == (4, b"", b"")


def test_main_child_that_makes_pyinit_its_tracer(mode: str, launcher: str) -> None:
    """The loop that counts does not take a stop for an end."""
    result = Init(mode, [launcher]).run(python(TRACED), ["--stats"])
    assert (result.code, parse(result.err)["main_child"]["exit_code"]) == (7, 7)


# Leaves an orphan that makes its new parent its tracer once it is adopted, and sends itself a signal, at which the
# kernel stops it.
TRACED_ORPHAN = """
init = os.getppid()
def act():
    import ctypes, signal
    while os.getppid() != init:
        pass
    ctypes.CDLL(None).ptrace(0, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGURG)
orphan(act)
"""


def test_traced_orphan_is_counted_once(mode: str, launcher: str) -> None:
    """A traced orphan is counted when it ends, and not when it stops."""
    stats = parse(run_scene(Init(mode, [launcher]), scene(TRACED_ORPHAN, 1), ["--stats"]))
    assert (stats["orphans_reaped"], sum(stats["orphans_by_command"].values())) == (1, 1)


def test_with_grace(init: Init) -> None:
    """Processes that end in the grace are counted."""
    if init.reaper == "wait":
        result = init.run(shell("sleep 1000 & sleep 1000 & exit 3"), ["--stats", "--grace", "30"])
        stats = parse(result.err)
        assert (result.code, stats["orphans_reaped"]) == (3, 2)
        assert (stats["main_child"]["exit_code"], stats["signals_forwarded"]) == (3, {})


def test_it_is_told_by_each_verbosity(launcher: str) -> None:
    """No verbosity hides the statistics, as --stats asks for them."""
    parse(run([launcher, "-s", "--stats", "--", "true"], env={"TINI_VERBOSITY": "0"}).err)
