"""In a shell outside of pyinit, Ctrl-Z, fg and bg act on a job under pyinit as on the bare program.

The tests type keys on a pseudo-terminal, with dash and bash as the outer shell. pyinit does no job control as PID 1,
which cannot be stopped, and as dumb-init, which gives up the terminal.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.inits import Init
from support.outer_shell import CTRL_C, CTRL_Z, Shell
from support.proc import children_of, read_stat, read_status, session_members, wait_for_stop_of, waits_for_signals
from support.processes import python, source
from support.sandbox import HeldCall
from support.settings import DEADLINE
from support.terminal import Terminal
from support.waiting import observe_for, wait_until
from test_terminal import PLAIN, SHELLS

OUTER = ["sh", "bash"]

# The init in front of the program. "bare" shows that the test expects what shells do.
INITS = {"bare": [], "pyinit": ["-s", "--"], "tini": ["--as", "tini", "-s", "--"], "catatonit": ["--as", "catatonit"]}


@pytest.fixture(params=OUTER)
def shell(request: pytest.FixtureRequest) -> Iterator[Shell]:
    """Start each outer shell."""
    if not shutil.which(request.param):
        pytest.skip(f"no {request.param}")
    argv = [shutil.which(request.param), *SHELLS[request.param]]
    with Terminal() as terminal, terminal.start(argv, env=PLAIN) as running:
        yield Shell(terminal, running)


@pytest.fixture(params=INITS)
def front(request: pytest.FixtureRequest, launcher: str) -> str:
    """Return the words in front of the program."""
    own = INITS[request.param]
    return shlex.join([launcher, *own]) if own else ""


def test_stopped_by_a_key_and_continued(shell: Shell, front: str) -> None:
    shell.start_cat(front)
    shell.stop()
    for _ in range(2):
        shell.fg()
        shell.type("two")
        shell.see("two\r\ntwo")
        shell.stop()
    shell.fg()
    shell.type("three")
    shell.see("three\r\nthree")
    shell.terminal.type(CTRL_C)
    shell.terminal.read_until(b"next> ")
    assert b"code=130" in shell.run("echo code=$?")
    shell.exit()


def test_read_in_the_background(shell: Shell, front: str) -> None:
    """A job that reads in the background stops, the shell notices it, and `fg` gives the job the terminal."""
    script = 'read line; echo "got <$line>"'
    shell.run(f"{front} sh -c {shlex.quote(script)} &")
    shell.wait_for_stop()
    shell.fg()
    shell.type("typed")
    shell.see("got <typed>")
    shell.terminal.read_until(b"next> ")
    shell.exit()


def put_into_foreground(shell: Shell) -> None:
    """Type `fg` at a shell with a running job, and wait until the job has the terminal."""
    leader = shell.running.process.pid
    wait_until(lambda: read_stat(leader)[5] == str(leader), "the shell to have the terminal")
    shell.type("fg")
    wait_until(lambda: read_stat(leader)[5] != str(leader), "the job to have the terminal")


def test_foreground_before_it_reads(shell: Shell, front: str, tmp_path: Path) -> None:
    """`fg` gives a running job the terminal, and the shell sends it no signal."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f'read go <{gate}; read line; echo "got <$line>"'
    shell.run(f"{front} sh -c {shlex.quote(script)} &")
    put_into_foreground(shell)
    gate.write_text("go\n")
    shell.type("typed")
    shell.see("got <typed>")
    shell.terminal.read_until(b"next> ")
    shell.exit()


def test_script_reads_after_its_job(shell: Shell, front: str, tmp_path: Path) -> None:
    """A job that gets the terminal by `fg` while it runs gives it back: the script that has started it can read."""
    up, go = tmp_path / "up", tmp_path / "go"
    os.mkfifo(up)
    os.mkfifo(go)
    job = f'echo up >{up}; read go <{go}; read line; echo "got <$line>"'
    script = f'{front} sh -c {shlex.quote(job)}; read line; echo "then <$line>"'
    shell.run(f"sh -c {shlex.quote(script)} &")
    assert up.read_text() == "up\n"  # pyinit has started in the background
    put_into_foreground(shell)
    go.write_text("go\n")
    shell.type("typed")
    shell.see("got <typed>")
    shell.type("more")
    shell.see("then <more>")
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
    shell.fg()
    shell.type("typed")
    shell.see("typed\r\ntyped")
    shell.terminal.read_until(b"next> ")
    shell.exit()


def test_job_below_a_script(shell: Shell, front: str) -> None:
    """The interactive shell waits for a script, which is in the same process group as pyinit."""
    script = f"{front} cat; echo after"
    shell.start(f"sh -c {shlex.quote(script)}")
    shell.type("one")
    shell.see("one\r\none")
    shell.stop()
    shell.fg()
    shell.type("two")
    shell.see("two\r\ntwo")
    shell.terminal.type(b"\x04")
    shell.see("after")
    shell.terminal.read_until(b"next> ")
    shell.exit()


@pytest.mark.parametrize("inner", ["sh", "bash"])
def test_nested_shell(shell: Shell, front: str, inner: str) -> None:
    """A shell under pyinit has its own jobs. bash's `suspend` stops the whole job in the outer shell."""
    if not shutil.which(inner):
        pytest.skip(f"no {inner}")
    shell.type("PS1=outer'> '")
    shell.terminal.read_until(b"outer> ")
    shell.type(f"PS1=next'> ' {front} {inner} {' '.join(SHELLS[inner])}")
    shell.terminal.read_until(b"next> ")
    shell.start_cat("")
    shell.stop()
    shell.fg()
    shell.type("two")
    shell.see("two\r\ntwo")  # only now is a key for the job
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
    """Under script(1) the program's group is orphaned: the kernel drops the stop, setpgid(2); the program runs on."""
    command = ["script", "--quiet", "--return", "--command", f"exec {front} cat", "/dev/null"]
    with Terminal() as terminal, terminal.start(command, env=PLAIN) as running:
        terminal.type(b"one\n")
        terminal.read_until(b"one\r\none\r\n")
        terminal.type(CTRL_Z)
        terminal.type(b"two\n")
        terminal.read_until(b"two\r\ntwo\r\n")
        terminal.type(CTRL_C)
        assert running.process.wait(DEADLINE) == 130


def test_hangup_ends_a_stopped_job(shell: Shell, front: str) -> None:
    """When the outer shell is killed, the terminal hangs up: the stopped program gets SIGHUP and SIGCONT, and ends."""
    shell.start_cat(front)
    shell.stop()
    os.kill(shell.running.process.pid, signal.SIGKILL)
    wait_until(lambda: not session_members(shell.running.process.pid), "the whole session to end")


@pytest.mark.parametrize("number", [signal.SIGTSTP, signal.SIGSTOP])
def test_continued_before_it_has_stopped(shell: Shell, launcher: str, number: int) -> None:
    """If SIGCONT comes before pyinit has stopped after its main child, the job continues."""
    shell.start(f"{launcher} -s -- sh -c 'echo running; exec sleep 100'")
    shell.see("running")
    job = shell.running.main_child
    main_child = children_of(job)[0]
    os.kill(job, signal.SIGSTOP)
    shell.terminal.read_until(b"next> ")
    os.kill(main_child, number)
    wait_until(lambda: read_stat(main_child)[0] == "T", "the main child to stop")
    os.kill(job, signal.SIGCONT)
    wait_until(lambda: read_stat(main_child)[0] != "T" or waits_for_stop(job), "the main child to go on")
    assert read_stat(main_child)[0] != "T"
    os.kill(job, signal.SIGKILL)
    os.kill(main_child, signal.SIGKILL)


@pytest.mark.parametrize("line", ["{} sleep 100 </dev/null", "sleep 100 | {} sleep 100", "{0} cat | {0} cat"])
def test_stdin_is_no_terminal(shell: Shell, front: str, line: str) -> None:
    """The key's signal goes to pyinit's own group, pyinit forwards it, and the main child stops."""
    shell.type(line.format(front))
    commands = line.count("sleep") + line.count("cat")
    fronts = line.count("{") if front else 0
    session = shell.running.process.pid
    wait_until(lambda: sum(map(has_executed, session_members(session))) == commands + fronts, "all to be started")
    for _ in range(2):
        shell.stop()
        shell.type("fg")
        wait_until(lambda: "T" not in [read_stat(pid)[0] for pid in session_members(session)], "all to go on")
    shell.terminal.type(CTRL_C)
    shell.terminal.read_until(b"next> ")
    shell.exit()


def has_executed(pid: int) -> bool:
    """Say whether a process is a command, or a pyinit in front of one that waits for signals."""
    name = read_status(pid).get("Name")
    return waits_for_signals(pid) if name == "pyinit" else name in ("sleep", "cat")


def test_program_that_stops_itself_below_a_script(shell: Shell, front: str) -> None:
    """SIGSTOP stops the job's own process and not the script, which can wait for the process and continue it."""
    script = f"""exec 3<&0
{front} sh -c 'kill -STOP $$; exit 4' <&3 & job=$!
until grep -q "^State:.T" /proc/$job/status; do sleep 0.05; done
echo alive; kill -CONT $job; wait $job; echo code=$?"""
    shell.start(f"sh -c {shlex.quote(script)}")
    shell.see("alive")
    shell.see("code=4")
    shell.terminal.read_until(b"next> ")
    shell.exit()


MOVED = source("moved")


def test_main_child_in_another_group(shell: Shell, launcher: str) -> None:
    """A main child that has moved to another process group is continued there."""
    shell.start(shlex.join([launcher, "-s", "--", *python(MOVED)]))
    shell.see("moved")
    job = shell.running.main_child
    main_child = children_of(job)[0]
    child = children_of(main_child)[0]
    os.kill(main_child, signal.SIGSTOP)
    shell.terminal.read_until(b"next> ")
    os.kill(job, signal.SIGCONT)
    wait_until(lambda: read_stat(main_child)[0] != "T", "the main child to go on")
    os.kill(child, signal.SIGKILL)


def waits_for_stop(pid: int) -> bool:
    """Say whether a process is stopped and no SIGCONT is pending that would continue it."""
    status = read_status(pid)
    return status["State"].startswith("T") and not int(status["ShdPnd"], 16) >> (signal.SIGCONT - 1) & 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_of_a_stopped_job(shell: Shell, front: str, number: int) -> None:
    """A stopped job ends by `kill %1`. bash continues the job after the signal; dash does not, so the test does."""
    shell.start_cat(front)
    shell.stop()
    shell.run(f"kill -{int(number)} %1; kill -CONT %1")
    session = shell.running.process.pid
    wait_until(lambda: session_members(session) == [session], "the job to end")
    shell.run("true")
    shell.exit()


def test_orphan_that_stops(shell: Shell, launcher: str, tmp_path: Path) -> None:
    """The job keeps the terminal when an adopted child stops: only a stop of the main child stops the job."""
    pid = tmp_path / "pid"
    script = f"(sh -c 'echo $$ >{pid}; kill -STOP $$' &); read line; echo \"got <$line>\""
    shell.start(f"{launcher} -s -- sh -c {shlex.quote(script)}")
    wait_until(lambda: pid.exists() and pid.read_text().endswith("\n"), "the orphan")
    orphan = int(pid.read_text())
    wait_until(lambda: read_stat(orphan)[0] == "T", "it to stop")
    shell.type("typed")
    shell.see("got <typed>")
    shell.terminal.read_until(b"next> ")
    with contextlib.suppress(ProcessLookupError):  # the kernel ends stopped processes of an orphaned group by SIGHUP
        os.kill(orphan, signal.SIGKILL)
    shell.exit()


def test_stop_is_forwarded_after_a_stop(shell: Shell, launcher: str) -> None:
    """pyinit blocks the signal that has stopped it again: a later SIGTSTP is forwarded to the main child."""
    shell.start_cat(f"{launcher} -s --")
    shell.stop()
    shell.fg()
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
    """If only the main child is stopped, pyinit must continue it for a termination signal to take effect."""
    argv = [launcher, "-s", "--", "sh", "-c", "echo ready; kill -STOP $$; read line"]
    with Terminal() as terminal, terminal.start(argv) as running:
        terminal.read_until(b"ready\r\n")
        wait_for_stop_of(running.main_child, running.pid)
        running.send(number)
        assert running.process.wait(DEADLINE) == 128 + number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_termination_is_taken_before_the_stop(launcher: str, number: int) -> None:
    """Of pending signals pyinit takes the one with the lowest number first, and learns of the stop by SIGCHLD."""
    argv = [launcher, "-s", "--", "sh", "-c", "echo ready; kill -STOP $$; read line"]
    with HeldCall("rt_sigtimedwait", {}) as held, Terminal() as terminal, \
            terminal.start(argv, preexec_fn=held.install) as running:
        held.wait()
        terminal.read_until(b"ready\r\n")
        main_child = running.main_child
        wait_until(lambda: read_stat(main_child)[0] == "T", "the main child to stop")
        running.send(number)
        held.release()
        held.release_until(lambda: running.process.poll() is not None)
        assert running.process.returncode == 128 + number


SILENT_LEADER = source("silent_leader")


def test_foreground_without_a_word(launcher: str, tmp_path: Path) -> None:
    """A main child that stops as it reads in the background gets the terminal if pyinit's group has it."""
    up, go = tmp_path / "up", tmp_path / "go"
    os.mkfifo(up)
    os.mkfifo(go)
    script = f'echo up >{up}; read go <{go}; read line; echo "got <$line>"; exit 6'
    with Terminal() as terminal, terminal.start(
            python(SILENT_LEADER, str(up), str(go), launcher, "-s", "--", "sh", "-c", script)) as running:
        terminal.type(b"typed\n")
        terminal.read_until(b"got <typed>\r\n")
        assert running.process.wait(DEADLINE) == 6


def test_first_process_goes_on(launcher: str, namespaces: None) -> None:
    """As PID 1 pyinit cannot be stopped: only the main child stops, until it is continued."""
    with Terminal() as terminal, terminal.start(Init("pid1", [launcher]).argv(["cat"]), "pid1") as running:
        terminal.type(b"one\n")
        terminal.read_until(b"one\r\none\r\n")
        terminal.type(CTRL_Z)
        main_child = running.main_child
        wait_until(lambda: read_stat(main_child)[0] == "T", "the main child to stop")
        observe_for(0.2)
        pids = (main_child, running.pid, running.process.pid)
        wait_until(lambda: [read_stat(pid)[0] for pid in pids] == ["T", "S", "S"], "the others to wait")
        running.send(signal.SIGCONT)
        terminal.type(b"two\n")
        terminal.read_until(b"two\r\ntwo\r\n")
        terminal.type(CTRL_C)
        assert running.process.wait(DEADLINE) == 130
