"""Each personality behaves as the real program: same exit code, stdout and stderr, and the child sees the same.

Messages about a command line are compared. Later messages are pyinit's own with the peer's prefix, and are not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from support.proc import children_of, is_blocked, read_stat, wait_until_idle, waits_for_signals
from support.processes import Result, Running, python, run, shell, source
from support.settings import PYTHON, ROOT
from support.terminal import Terminal
from support.waiting import wait_until

PEERS = ("tini", "dumb-init", "catatonit")

# Prints what the child sees: whether its process group and session are its own or its parent's, its signal mask and
# ignored signals, and its folder.
VIEW = python("""
import os
parent = os.getppid()
print(os.getpgrp() == os.getpid(), os.getsid(0) == os.getpid())
print(os.getpgrp() == os.getpgid(parent), os.getsid(0) == os.getsid(parent))
print([line for line in open("/proc/self/status") if line[:6] in ("SigBlk", "SigIgn")], os.getcwd())
""")
# Prints the first signal that it gets, and ends.
CATCH = python("""
import signal
waited = {1, 2, 3, 10, 12, 15, 28}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
print("ready", flush=True)
print("got", signal.Signals(signal.sigwait(waited)).name)
""")


class Case(NamedTuple):
    """One command line for one peer."""

    peer: str
    arguments: list[str]
    environ: dict[str, str] = {}
    # The fields in which pyinit is the same as the real program. docs/drop-in.md lists where it differs on purpose.
    compare: tuple[str, ...] = ("code", "out", "err")


def every(peer: str, arguments: list[str], **settings) -> Case:
    """Return a case in which every field is compared."""
    return Case(peer, arguments, **settings)


CASES = [
    *(every(peer, [*options, "--", *command])
      for peer, options in (("tini", ["-s"]), ("dumb-init", []), ("catatonit", []))
      for command in (["true"], shell("exit 7"), shell("kill -KILL $$"), shell("kill -TERM $$"),
                      shell("echo out; echo err >&2"), VIEW)
      if (peer, command) != ("catatonit", VIEW)),  # see test_job_control_signals_are_not_blocked
    *(Case(peer, [*options, "--", command], compare=("code", "out"))
      for peer, options in (("tini", ["-s"]), ("dumb-init", []), ("dumb-init", ["-c"]), ("catatonit", []))
      for command in ("/no/such/file", "no-such-command")),
    *(Case("tini", ["-s", "-vv", "--", *command], compare=("code", "err"))
      for command in (["true"], shell("exit 7"), shell("kill -KILL $$"))),
    every("tini", ["-s", "-w", "--", *shell("true & wait")]),
    every("tini", ["-s", "-e", "143", "--", *shell("kill -TERM $$")]),
    every("tini", ["-s", "-e", "7", "--", *shell("exit 7")]),
    every("tini", ["-s", "-e", "7", "--", *shell("exit 8")]),
    Case("tini", ["--", "no-such-command"], {"TINI_VERBOSITY": "0"}, compare=("code", "out")),
    Case("tini", ["--", "true"], {"TINI_VERBOSITY": "3", "TINI_SUBREAPER": ""}, compare=("code", "err")),
    every("tini", ["-p", "FOO", "true"]),
    every("tini", ["-e", "256", "true"]),
    every("tini", ["-p", "SIGTERM", "-s", "true"]),
    Case("tini", ["-sgwv", "true"], compare=("code", "err")),
    Case("tini", [], compare=("code", "out")),  # pyinit words the usage differently
    Case("tini", ["-x"], compare=("code", "out")),
    Case("tini", ["-h"], compare=("code", "err")),
    Case("tini", ["-l"], compare=("code", "err")),
    Case("tini", ["--version"], compare=("code", "err")),
    *(Case("dumb-init", [*options, *command], compare=("code", "out")) for options in (["-v"], ["-v", "-c"], ["-c"])
      for command in (["true"], shell("exit 7"), shell("kill -KILL $$"), VIEW)),
    Case("dumb-init", ["true"], {"DUMB_INIT_DEBUG": "1", "DUMB_INIT_SETSID": "0"}, compare=("code", "out")),
    every("dumb-init", VIEW, environ={"DUMB_INIT_SETSID": "0"}),
    every("dumb-init", []),
    every("dumb-init", ["-x"]),
    every("dumb-init", ["--foo"]),
    every("dumb-init", ["-r"]),
    every("dumb-init", ["--rewrite"]),
    every("dumb-init", ["--verbose=1", "true"]),
    every("dumb-init", ["--ver", "true"]),
    every("dumb-init", ["-r", "FOO", "true"]),
    every("dumb-init", ["-r", "1:99", "true"]),
    every("dumb-init", ["-V"]),
    every("dumb-init", ["--version", "true"]),
    Case("dumb-init", ["-h"], compare=("code", "out")),
    every("catatonit", []),
    every("catatonit", ["-x"]),
    every("catatonit", ["--foo", "x"]),
    every("catatonit", ["-g", "--", "true"]),
    every("catatonit", ["--", *shell("echo $LISTEN_PID")], environ={"LISTEN_PID": "5"}),
    Case("catatonit", ["-h"], compare=("code", "out")),
    Case("catatonit", ["-L"], compare=("code", "err")),
    Case("catatonit", ["-V"], compare=("code", "err")),
]

# peer, its options, the signal sent
SIGNALS = [(peer, options, number) for peer, options in (("tini", ["-s"]), ("tini", ["-s", "-g"]), ("dumb-init", []),
                                                         ("dumb-init", ["-c"]),
                                                         ("dumb-init", ["-r", "15:12"]), ("dumb-init", ["-r", "10:2"]),
                                                         ("catatonit", []), ("catatonit", ["-g"]))
           for number in (1, 2, 3, 10, 12, 15, 28)]


@pytest.fixture(scope="session")
def peers(install_folder: Path) -> dict[str, str]:
    """Install a launcher for each peer; return the paths."""
    for peer in PEERS:
        subprocess.run([PYTHON, "-m", "pyinit.launcher", install_folder / peer], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    return {peer: str(install_folder / peer) for peer in PEERS}


def real(peer: str) -> str:
    """Return the path of the real program; skip the test if it is not installed."""
    path = shutil.which(peer)
    if not path:
        pytest.skip(f"{peer} is not installed")
    return path


def normalise(text: bytes, program: str, peer: str) -> bytes:
    """Replace PIDs and the program's path, and sort the lines: the main child and the init write at the same time."""
    text = text.replace(program.encode(), peer.encode())
    text = re.sub(rb"\((tini |catatonit:|)\d+\)", rb"(\1PID)", text)
    text = re.sub(rb"(?i)(\bpid[ :=]*'?)\d+", rb"\1PID", text)
    return b"".join(sorted(text.splitlines(keepends=True)))


def observe(program: str, case: Case) -> Result:
    """Run a case; return its exit code and its normalised output."""
    environ = {"PATH": os.environ["PATH"], **case.environ}
    result = run([program, *case.arguments], env=environ)
    return Result(result.code, normalise(result.out, program, case.peer), normalise(result.err, program, case.peer))


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.peer}:{' '.join(case.arguments)[:60]}")
def test_as_the_real_program(case: Case, peers: dict[str, str]) -> None:
    theirs, ours = observe(real(case.peer), case), observe(peers[case.peer], case)
    assert ({field: getattr(ours, field) for field in case.compare}
            == {field: getattr(theirs, field) for field in case.compare})


def catch(program: str, options: list[str], number: int) -> tuple[int, bytes]:
    """Send a signal; return the exit code and the child's output."""
    with Running([program, *options, "--", *CATCH], env={"PATH": os.environ["PATH"]}) as running:
        running.expect("ready")
        running.send(number)
        result = running.finish()
        return result.code, result.out


@pytest.mark.parametrize(("peer", "options", "number"), SIGNALS)
def test_signal_as_the_real_program(peer: str, options: list[str], number: int, peers: dict[str, str]) -> None:
    assert catch(peers[peer], options, number) == catch(real(peer), options, number)


# Each peer's prefix, for which people search their logs: a message for each descriptor that the peer writes to.
PREFIXES = [("tini", ["-s"], b"[FATAL tini (PID)] cannot run", 2),
            ("tini", ["-s", "-v"], b"[INFO  tini (PID)] started", 1),
            ("dumb-init", [], b"[dumb-init] cannot run", 2), ("catatonit", [], b"ERROR (catatonit:PID): cannot run", 2)]


@pytest.mark.parametrize(("peer", "options", "words", "descriptor"), PREFIXES)
def test_prefix(peer: str, options: list[str], words: bytes, descriptor: int, peers: dict[str, str]) -> None:
    case = Case(peer, [*options, "--", "no-such-command"])
    ours, theirs = observe(peers[peer], case), observe(real(peer), case)
    assert words in ours[descriptor]
    prefix = words[:words.rindex(b"]" if b"]" in words else b":")]
    assert prefix in theirs[descriptor]


def test_job_control_signals_are_not_blocked(peers: dict[str, str]) -> None:
    """catatonit leaves SIGTSTP, SIGTTIN and SIGTTOU blocked in its child, which then cannot be stopped by Ctrl-Z."""
    case = Case("catatonit", ["--", *VIEW])
    ours, theirs = observe(peers["catatonit"], case), observe(real("catatonit"), case)
    assert b"0000000000380000" in theirs.out
    assert ours.out == theirs.out.replace(b"0000000000380000", bytes(16).replace(b"\0", b"0"))


@pytest.mark.parametrize("peer", PEERS)
def test_started_with_sigchld_ignored(peer: str, peers: dict[str, str]) -> None:
    """A process that ignores SIGCHLD never sees a child end, waitpid(2); tini and catatonit then hang forever."""
    result = run(["/bin/sh", "-c", 'trap "" CHLD; exec "$@"', "sh", peers[peer], "--", *shell("exit 6")])
    assert result.code == 6


def test_dumb_init_resets_what_is_ignored(peers: dict[str, str]) -> None:
    """dumb-init's child starts with the default disposition of every signal."""
    script = 'trap "" HUP INT QUIT USR1 TERM TSTP TTIN; exec "$@"'
    for program in (real("dumb-init"), peers["dumb-init"]):
        result = run(["/bin/sh", "-c", script, "sh", program, "--", "grep", "SigIgn", "/proc/self/status"])
        assert result == (0, b"SigIgn:\t0000000000000000\n", b""), program


def test_listen_pid(peers: dict[str, str]) -> None:
    """LISTEN_PID names the process that gets the sockets, sd_listen_fds(3): the init changes it to the main child."""
    script = 'LISTEN_PID=$$ exec "$@"'
    for program in (real("catatonit"), peers["catatonit"]):
        result = run(["/bin/sh", "-c", script, "sh", program, "--", *shell("echo $((LISTEN_PID == $$))")])
        assert result.out == b"1\n", program


def test_left_behind(peers: dict[str, str]) -> None:
    """dumb-init and catatonit change to /, so that they keep no mount busy; the child keeps its folder."""
    for peer in ("dumb-init", "catatonit"):
        with Running([peers[peer], "--", *shell("pwd; read -r line; readlink /proc/$PPID/cwd")], cwd="/tmp") as running:
            running.expect("/tmp")
            wait_until(lambda: waits_for_signals(running.pid), "the init to be in its loop")
            running.write(b"go\n")
            running.expect("/")
            assert running.finish().code == 0


def test_descriptors_are_closed_in_catatonit_alone(peers: dict[str, str]) -> None:
    """catatonit closes all inherited descriptors but 0 to 2, and its child keeps them. pyinit does the same, but also
    keeps the one from which it reads its modules.
    """
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    script = f"echo ready; read -r line; [ -e /proc/$$/fd/{writer} ] && cd /proc/$PPID/fd && echo * && readlink *"
    with Running([peers["catatonit"], "--", *shell(script)], pass_fds=[writer]) as running:
        running.expect("ready")
        wait_until(lambda: waits_for_signals(running.pid), "the init to be in its loop")
        running.write(b"go\n")
        numbers = running.read_line().split()
        files = dict(zip(numbers, (running.read_line() for _ in numbers)))
        assert [number for number, path in files.items() if path != peers["catatonit"] + ".pyc"] == ["0", "1", "2"]
        assert running.finish().code == 0
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(("options", "name"), [([], "TERM"), (["-r", "15:10"], "USR1")], ids=["plain", "rewritten"])
def test_dumb_init_ends_the_rest_of_its_session(options: list[str], name: str, peers: dict[str, str]) -> None:
    """The processes that the main child leaves get SIGTERM, or the signal that it is rewritten to."""
    traps = "trap 'echo got TERM; exit' TERM; trap 'echo got USR1; exit' USR1"
    script = f"({traps}; echo ready; while :; do sleep 0.05; done) & read -r line"
    for program in (real("dumb-init"), peers["dumb-init"]):
        with Running([program, *options, "--", *shell(script)]) as running:
            running.expect("ready")
            running.write(b"go\n")
            running.expect(f"got {name}")
            assert running.finish().code == 0


def test_signal_before_the_session_is_made(peers: dict[str, str]) -> None:
    """A signal that comes before the child has made its session goes to the child; dumb-init loses up to half."""
    for number in range(60):
        with Running([peers["dumb-init"], "--", *shell("read -r line")]) as running:
            # In sigwait(3) the kernel shows no signal as blocked; by then pyinit has a main child.
            wait_until(lambda: is_blocked(running.pid, 15) or children_of(running.pid), "the mask")
            running.send(15)
            assert running.process.wait(30) == 143, number


@pytest.mark.parametrize("name", ["tstp", "ttin", "ttou"])
def test_dumb_init_suspends_itself_with_its_session(name: str, peers: dict[str, str]) -> None:
    """dumb-init sends SIGSTOP to the session instead of a stop signal, and stops as well. SIGCONT continues both."""
    number = {"tstp": 20, "ttin": 21, "ttou": 22}[name]
    for program in (real("dumb-init"), peers["dumb-init"]):
        with Running([program, "-v", "--", *shell("echo ready; read -r line")]) as running:
            running.expect("ready")
            child = running.main_child
            running.send(number)
            wait_until(lambda: read_stat(running.pid)[0] == "T" and read_stat(child)[0] == "T", "both to stop")
            running.send(18)
            wait_until(lambda: read_stat(running.pid)[0] == "S" and read_stat(child)[0] == "S", "both to go on")
            running.write(b"go\n")
            assert running.finish().code == 0


# Writes "hung up" at SIGHUP, and ends.
HUNG_UP = "trap 'echo hung up; exit 5' HUP; echo ready; while :; do sleep 0.05; done"
NO_LEADER = source("no_leader")


def test_dumb_init_takes_its_own_hangup_once(peers: dict[str, str]) -> None:
    """The kernel sends SIGHUP to a session leader that gives up its terminal. dumb-init ignores this first one and
    forwards the next, which another process has sent.
    """
    for program in (real("dumb-init"), peers["dumb-init"]):
        with Terminal() as terminal, terminal.start([program, "--", *shell(HUNG_UP)]) as running:
            terminal.read_until(b"ready\r\n")
            wait_until_idle(running.pid)
            running.send(1)
            terminal.read_until(b"hung up\r\n")
            assert running.process.wait(30) == 5, program


def test_dumb_init_that_does_not_lead_its_session(peers: dict[str, str]) -> None:
    """The kernel sends SIGHUP only to a session leader: otherwise dumb-init forwards the first SIGHUP."""
    for program in (real("dumb-init"), peers["dumb-init"]):
        with Terminal() as terminal, terminal.start(python(NO_LEADER, program, "--", *shell(HUNG_UP))) as running:
            pid = int(terminal.read_until(b"started\r\n").split()[-2])
            terminal.read_until(b"ready\r\n")
            wait_until_idle(pid)
            os.kill(pid, 1)
            terminal.read_until(b"hung up\r\n")
            terminal.read_until(b"code 5\r\n")
            assert running.process.wait(30) == 0, program


def test_dumb_init_hands_the_terminal_to_the_session(peers: dict[str, str]) -> None:
    """dumb-init gives up its terminal, ignores the SIGHUP for that, and the child's session gets the terminal."""
    script = "trap 'echo hung up' HUP; tty -s && ps -o tpgid= -p $$ >/dev/null && echo ready && read -r line; exit 5"
    for program in (real("dumb-init"), peers["dumb-init"]):
        with Terminal() as terminal, terminal.start([program, "-v", "--", *shell(script)]) as running:
            before = terminal.read_until(b"ready")
            child = running.main_child
            assert read_stat(child)[3] == str(child) and read_stat(child)[4] != "0", program
            assert read_stat(running.pid)[4] == "0", program
            assert b"hung up" not in before, program
            terminal.type(b"go\n")
            assert running.process.wait(30) == 5, program
