"""Job control of a shell outside of pyinit: Ctrl-Z, fg and bg act on a job under pyinit as on the bare program.

Real keys on a pseudo-terminal, with dash and bash as the outer shell. As PID 1, which nothing can stop, and as
dumb-init, which gives up the terminal, pyinit takes no part in this.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import (DEADLINE, Init, Running, Terminal, children_of, observe_for, process_ids, python, read_stat,
                     read_status, wait_until, waits_for_signals)
from test_terminal import PLAIN, SHELLS

OUTER = ["sh", "bash"]
# What stands in front of the program; the first shows that the test expects what shells do.
INITS = {"bare": [], "pyinit": ["-s", "--"], "tini": ["--as", "tini", "-s", "--"], "catatonit": ["--as", "catatonit"]}
CTRL_C, CTRL_Z = b"\x03", b"\x1a"


class Shell:
    """An interactive shell that leads the session of a terminal."""

    def __init__(self, terminal: Terminal, running: Running) -> None:
        self.terminal = terminal
        self.running = running
        terminal.read_until(b"next> ")

    def type(self, line: str) -> None:
        """Type a line."""
        self.terminal.type(line.encode() + b"\n")

    def run(self, line: str) -> bytes:
        """Type a line and return what is printed until the next prompt."""
        self.type(line)
        return self.terminal.read_until(b"next> ")

    def start(self, command: str) -> None:
        """Start a command in the foreground. bash reads keys in another way than programs do until it has said so."""
        self.type(f"echo started; {command}")
        self.see("started")

    def start_cat(self, front: str) -> None:
        """Start a cat that has read a line."""
        self.start(f"{front} cat")
        self.type("one")
        self.see("one\r\none")

    def stop(self) -> None:
        """Stop the job by its key; the shell has then been told.

        It is told as soon as the job's first process has stopped: a cat that has not yet would read what is typed next.
        """
        self.terminal.type(CTRL_Z)
        self.terminal.read_until(b"next> ")
        wait_until(lambda: all(read_stat(pid)[:1] == ["T"] for pid in session_members(self.running.process.pid)
                               if read_status(pid).get("Name") == "cat"), "each cat to stop")
        assert b"topped" in self.run("jobs")

    def see(self, text: str) -> None:
        """Wait for a whole line."""
        self.terminal.read_until(text.encode() + b"\r\n")

    def wait_for_stop(self) -> None:
        """Ask the shell until it says that its job is stopped."""
        end = time.monotonic() + DEADLINE
        while b"topped" not in self.run("jobs"):
            assert time.monotonic() < end, "the shell was not told that its job has stopped"

    def exit(self) -> None:
        """Leave the shell, which warns of nothing as no job is left."""
        self.type("exit 9")
        assert self.running.process.wait(DEADLINE) == 9


@pytest.fixture(params=OUTER)
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """The outer shell."""
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param}")
    argv = [shutil.which(request.param), *SHELLS[request.param]]
    with Terminal() as terminal, terminal.start(argv, env=PLAIN) as running:
        yield Shell(terminal, running)


@pytest.fixture(params=INITS)
def front(request: pytest.FixtureRequest, launcher: str) -> str:
    """What stands in front of the program."""
    own = INITS[request.param]
    return shlex.join([launcher, *own]) if own else ""


def test_stopped_by_a_key_and_continued(shell: Shell, front: str) -> None:
    shell.start_cat(front)
    shell.stop()
    for _ in range(2):
        shell.type("fg")
        shell.terminal.read_until(b"cat")
        shell.type("two")
        shell.see("two\r\ntwo")
        shell.stop()
    shell.type("fg")
    shell.terminal.read_until(b"cat")
    shell.type("three")
    shell.see("three\r\nthree")
    shell.terminal.type(CTRL_C)
    shell.terminal.read_until(b"next> ")
    assert b"code=130" in shell.run("echo code=$?")
    shell.exit()


def test_read_in_the_background(shell: Shell, front: str) -> None:
    """It stops, the shell is told, and `fg` gives it the terminal."""
    script = 'read line; echo "got <$line>"'
    shell.run(f"{front} sh -c {shlex.quote(script)} &")
    shell.wait_for_stop()
    shell.type("fg")
    shell.terminal.read_until(b"sh")
    shell.type("typed")
    shell.see("got <typed>")
    shell.terminal.read_until(b"next> ")
    shell.exit()


def test_foreground_before_it_reads(shell: Shell, front: str, tmp_path: Path) -> None:
    """The shell has given the terminal to a job that runs, without a word to it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f'read go <{gate}; read line; echo "got <$line>"'
    shell.run(f"{front} sh -c {shlex.quote(script)} &")
    job = shell.running.process.pid
    wait_until(lambda: read_stat(job)[5] == str(job), "the shell to have the terminal")
    shell.type("fg")
    wait_until(lambda: read_stat(job)[5] != str(job), "the job to have the terminal")
    gate.write_text("go\n")
    shell.type("typed")
    shell.see("got <typed>")
    shell.terminal.read_until(b"next> ")
    shell.exit()


def test_continued_in_the_background(shell: Shell, front: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"echo running; read go <{gate}; echo finished; read line; echo $line"
    shell.start(f"{front} sh -c {shlex.quote(script)}")
    shell.see("running")
    shell.stop()
    shell.run("bg")
    gate.write_text("go\n")
    shell.see("finished")
    shell.wait_for_stop()  # it reads from the background
    shell.type("fg")
    shell.terminal.read_until(b"sh")
    shell.type("typed")
    shell.see("typed\r\ntyped")
    shell.terminal.read_until(b"next> ")
    shell.exit()


def test_job_below_a_script(shell: Shell, front: str) -> None:
    """The process that the interactive shell waits for is a script in the same process group."""
    script = f"{front} cat; echo after"
    shell.start(f"sh -c {shlex.quote(script)}")
    shell.type("one")
    shell.see("one\r\none")
    shell.stop()
    shell.type("fg")
    shell.terminal.read_until(b"after")  # of the command line that `fg` prints
    shell.type("two")
    shell.see("two\r\ntwo")
    shell.terminal.type(b"\x04")
    shell.see("after")
    shell.terminal.read_until(b"next> ")
    shell.exit()


@pytest.mark.parametrize("inner", ["sh", "bash"])
def test_nested_shell(shell: Shell, front: str, inner: str) -> None:
    """A shell under pyinit has jobs of its own; bash's suspend stops it as a whole."""
    if not shutil.which(inner):
        pytest.skip(f"no {inner}")
    shell.type("PS1=outer'> '")
    shell.terminal.read_until(b"outer> ")
    shell.type(f"PS1=next'> ' {front} {inner} {' '.join(SHELLS[inner])}")
    shell.terminal.read_until(b"next> ")
    shell.start_cat("")
    shell.stop()
    shell.type("fg")
    shell.terminal.read_until(b"cat")
    shell.type("two")
    shell.see("two\r\ntwo")  # only now a key is for the job
    shell.terminal.type(CTRL_C)
    shell.terminal.read_until(b"next> ")
    if inner == "bash":
        shell.type("suspend")
        shell.terminal.read_until(b"outer> ")
        shell.type("fg")
        shell.terminal.read_until(b"-i")
        shell.type("")
        shell.terminal.read_until(b"next> ")
    shell.type("exit 5")
    shell.terminal.read_until(b"outer> ")
    shell.type("echo code=$?")
    shell.see("code=5")
    shell.exit()


def test_key_where_no_shell_can_continue(front: str) -> None:
    """Under script(1) the program's group is orphaned: the kernel drops the stop, setpgid(2), and typing goes on."""
    command = ["script", "--quiet", "--return", "--command", f"exec {front} cat", "/dev/null"]
    with Terminal() as terminal, terminal.start(command, env=PLAIN) as running:
        terminal.type(b"one\n")
        terminal.read_until(b"one\r\none\r\n")
        terminal.type(CTRL_Z)
        terminal.type(b"two\n")
        terminal.read_until(b"two\r\ntwo\r\n")
        terminal.type(CTRL_C)
        assert running.process.wait(DEADLINE) == 130


def session_members(session: int) -> list[int]:
    """The processes of a session that have not ended."""
    stats = ((pid, read_stat(pid)) for pid in process_ids())
    return [pid for pid, stat in stats if stat[3:4] == [str(session)] and stat[0] not in "ZX"]


def test_hangup_ends_a_stopped_job(shell: Shell, front: str) -> None:
    """The outer shell is killed and the terminal hangs up: the stopped program gets SIGHUP, and goes on to take it."""
    shell.start_cat(front)
    shell.stop()
    os.kill(shell.running.process.pid, signal.SIGKILL)
    wait_until(lambda: not session_members(shell.running.process.pid), "the whole session to end")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_of_a_stopped_job(shell: Shell, front: str, number: int) -> None:
    """As `kill %1` does, which continues what it ends; dash's does not, so it is continued here."""
    shell.start_cat(front)
    shell.stop()
    shell.run(f"kill -{int(number)} %1; kill -CONT %1")
    session = shell.running.process.pid
    wait_until(lambda: session_members(session) == [session], "the job to end")
    shell.run("true")
    shell.exit()


def test_orphan_that_stops(shell: Shell, launcher: str, tmp_path: Path) -> None:
    """Only the main child's stop is the job's: the terminal stays with it when an adopted child stops."""
    pid = tmp_path / "pid"
    script = f"(sh -c 'echo $$ >{pid}; kill -STOP $$' &); read line; echo \"got <$line>\""
    shell.start(f"{launcher} -s -- sh -c {shlex.quote(script)}")
    wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), "the orphan")
    orphan = int(pid.read_text())
    wait_until(lambda: read_stat(orphan)[0] == "T", "it to stop")
    shell.type("typed")
    shell.see("got <typed>")
    shell.terminal.read_until(b"next> ")
    with contextlib.suppress(ProcessLookupError):  # the kernel ends what is stopped in an orphaned group by SIGHUP
        os.kill(orphan, signal.SIGKILL)
    shell.exit()


def test_stop_is_forwarded_after_a_stop(shell: Shell, launcher: str) -> None:
    """What has stopped pyinit once is blocked again: a SIGTSTP that is sent to it is the main child's."""
    shell.start_cat(f"{launcher} -s --")
    shell.stop()
    shell.type("fg")
    shell.terminal.read_until(b"cat")
    shell.type("two")
    shell.see("two\r\ntwo")
    job = next(pid for pid in session_members(shell.running.process.pid) if read_stat(pid)[1] ==
               str(shell.running.process.pid))
    main_child = children_of(job)[0]
    os.kill(job, signal.SIGTSTP)
    wait_until(lambda: read_stat(main_child)[0] == "T", "the main child to stop")
    shell.terminal.read_until(b"next> ")
    shell.run("kill -KILL %1; kill -CONT %1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_where_no_shell_can_continue(launcher: str, number: int) -> None:
    """A main child that is stopped while pyinit is not takes a termination signal only if it is continued."""
    argv = [launcher, "-s", "--", "sh", "-c", "echo ready; kill -STOP $$; read line"]
    with Terminal() as terminal, terminal.start(argv) as running:
        terminal.read_until(b"ready\r\n")
        main_child = running.main_child
        wait_until(lambda: read_stat(main_child)[0] == "T", "the main child to stop")
        wait_until(lambda: waits_for_signals(running.pid), "pyinit to have learnt it")
        running.send(number)
        assert running.process.wait(DEADLINE) == 128 + number


# Leads the session, starts argv[3:] in the background, and gives it the terminal, without a word, when the FIFO argv[1]
# says that it runs; then says so by the FIFO argv[2].
SILENT_LEADER = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    os.execv(sys.argv[3], sys.argv[3:])
open(sys.argv[1]).read()
os.tcsetpgrp(0, child)
open(sys.argv[2], "w").write("go\\n")
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, os.WUNTRACED)[1]))
"""


def test_foreground_without_a_word(launcher: str, tmp_path: Path) -> None:
    """A main child that is stopped for reading from the background, when pyinit's group has the terminal, gets it."""
    up, go = tmp_path / "up", tmp_path / "go"
    os.mkfifo(up)
    os.mkfifo(go)
    script = f'echo up >{up}; read go <{go}; read line; echo "got <$line>"; exit 6'
    with Terminal() as terminal, terminal.start(
            python(SILENT_LEADER, str(up), str(go), launcher, "-s", "--", "sh", "-c", script)) as running:
        terminal.type(b"typed\n")
        terminal.read_until(b"got <typed>\r\n")
        assert running.process.wait(DEADLINE) == 6


def test_first_process_goes_on(launcher: str, namespaces: bool) -> None:
    """As PID 1 pyinit cannot be stopped: the main child stays stopped until it is continued, and nobody else stops."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    with Terminal() as terminal, terminal.start(Init("pid1", [launcher]).argv(["cat"]), "pid1") as running:
        terminal.type(b"one\n")
        terminal.read_until(b"one\r\none\r\n")
        terminal.type(CTRL_Z)
        main_child = running.main_child
        wait_until(lambda: read_stat(main_child)[0] == "T", "the main child to stop")
        observe_for(0.2)
        assert [read_stat(pid)[0] for pid in (main_child, running.pid, running.process.pid)] == ["T", "S", "S"]
        running.send(signal.SIGCONT)
        terminal.type(b"two\n")
        terminal.read_until(b"two\r\ntwo\r\n")
        terminal.type(CTRL_C)
        assert running.process.wait(DEADLINE) == 130
