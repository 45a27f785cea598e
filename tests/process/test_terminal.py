"""At a terminal the main child is in the foreground, signals from keys reach it once, and job control works."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Sequence

import pytest

from support.inits import Init
from support.proc import children_of, read_stat
from support.processes import Running, python, shell, source
from support.settings import DEADLINE
from support.terminal import Terminal
from support.waiting import wait_until

LISTENER = source("names_keys")
BACKGROUND = source("background")
FOREGROUND = source("foreground")
TAKES_FOREGROUND = source("takes_foreground")
LEAVES_FOREGROUND = source("leaves_foreground")
CONTINUES = source("continues")
# Writes "running", and ends by the first signal.
UNTIL_SIGNAL = "import os, signal; os.write(1, b'running\\n'); signal.pause()"
PLAIN = {"PATH": os.environ["PATH"], "PS1": "next> ", "TERM": "dumb", "HOME": "/"}
SHELLS = {"sh": ["-i"], "bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}


@pytest.fixture(params=["pid1 inner", "pid1 outer", "subreaper outer"])
def place(request: pytest.FixtureRequest) -> list[str]:
    """Return the mode, and whether the terminal's session begins in the namespace, as in a container, or outside."""
    if request.param.startswith("pid1"):
        request.getfixturevalue("namespaces")
    return request.param.split()


@pytest.fixture
def mode(place: list[str]) -> str:
    return place[0]


@pytest.fixture
def session(place: list[str]) -> str:
    return place[1]


def start(init: Init, session: str, terminal: Terminal, command: Sequence[str], options: Sequence[str] = (),
          **popen) -> Running:
    """Start pyinit at a terminal."""
    inside = ["setsid", "--ctty"] if session == "inner" else []
    return terminal.start(init.argv(command, options, inside), init.mode, controlling=not inside, **popen)


def last_descendant(pid: int) -> int:
    """Follow the first children of a process, and return the last one."""
    while children_of(pid):
        pid = children_of(pid)[0]
    return pid


def test_foreground_is_handed_over(any_init: Init, session: str) -> None:
    with Terminal() as terminal, start(any_init, session, terminal, python(LISTENER)) as running:
        terminal.read_until(b"foreground True\r\n")
        if session == "outer":  # otherwise the group's number cannot be read outside of the namespace
            assert terminal.foreground() == int(read_stat(running.main_child)[2])
        running.send(signal.SIGTERM)
        terminal.read_until(b"<15>\r\n")
        assert running.process.wait(DEADLINE) == 0


@pytest.mark.core
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_keys_reach_the_main_child_once(init: Init, session: str, options: list[str]) -> None:
    """Ctrl-C sends a signal to the foreground group. pyinit is not in it, and so does not forward a second one."""
    with Terminal() as terminal, start(init, session, terminal, python(LISTENER), options) as running:
        terminal.read_until(b"foreground True\r\n")
        for key, number in ((b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT), (b"\x1a", signal.SIGTSTP)):
            terminal.type(key)
            terminal.read_until(b"<%d>\r\n" % number)
            # A signal that pyinit itself got earlier would be forwarded before this one.
            running.send(signal.SIGRTMAX)
            assert terminal.read_until(b"<64>\r\n").count(b"<") == 1
        running.send(signal.SIGTERM)
        terminal.read_until(b"<15>\r\n")
        assert running.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("name", SHELLS)
def test_job_control(any_init: Init, session: str, name: str) -> None:
    """An interactive shell does not complain. Ctrl-Z stops its job, `fg` continues it, Ctrl-C ends it."""
    if not shutil.which(name):
        pytest.skip(f"no {name}")
    with Terminal() as terminal, start(any_init, session, terminal, [name, *SHELLS[name]], env=PLAIN) as running:
        seen = terminal.read_until(b"next> ")
        terminal.type(b"echo started; cat\n")
        seen += terminal.read_until(b"started\r\n")
        terminal.type(b"one\n")
        seen += terminal.read_until(b"one\r\none\r\n")
        terminal.type(b"\x1a")
        seen += terminal.read_until(b"next> ")
        terminal.type(b"jobs; echo listed\n")
        jobs = terminal.read_until(b"\nlisted\r\n")
        assert b"topped" in jobs or b"uspended" in jobs, jobs
        terminal.type(b"fg\n")
        terminal.read_until(b"cat\r\n")
        terminal.type(b"two\n")
        terminal.read_until(b"two\r\ntwo\r\n")
        terminal.type(b"\x03")
        terminal.read_until(b"next> ")
        terminal.type(b"exit 45\n")
        assert running.process.wait(DEADLINE) == 45
        assert not [word for word in (b"job control", b"tty", b"arning", b"ioctl") if word in seen], seen


def test_job_control_needs_the_foreground(launcher: str) -> None:
    """The test above can fail: an interactive shell in a session without the terminal complains."""
    with Terminal() as terminal, terminal.start(["/bin/sh", "-i"], controlling=False, env=PLAIN):
        assert b"job control" in terminal.read_until(b"next> ")


READ_BY_ANOTHER = source("read_by_another")


def test_foreground_is_handed_over_beside_another_reader(init: Init) -> None:
    """If the foreground group has no number in pyinit's namespace, pyinit finds out by a read whether it has the
    terminal, and does not wait for another reader.
    """
    gate, opener = os.pipe()
    command = python(READ_BY_ANOTHER, str(gate), *init.argv(python(LISTENER)))
    with Terminal() as terminal, terminal.start(command, init.mode, pass_fds=(gate,)) as running:
        reader = int(terminal.read_until(b" reads\r\n").split()[-2])
        wait_until(lambda: read_stat(reader)[0] == "S", "it to read")
        os.write(opener, b"x")
        terminal.read_until(b"foreground True\r\n")
        other, = set(children_of(running.process.pid)) - {reader}
        os.kill(last_descendant(other), signal.SIGTERM)
        terminal.read_until(b"<15>\r\n")
        assert running.process.wait(DEADLINE) == 0
    os.close(gate)
    os.close(opener)


def test_foreground_is_not_stolen(any_init: Init) -> None:
    """In the background pyinit does not change the foreground group."""
    argv = any_init.argv(python(LISTENER))
    with Terminal() as terminal, terminal.start(python(BACKGROUND, shutil.which(argv[0]), *argv[1:])) as running:
        terminal.read_until(b"foreground False\r\n")
        assert terminal.foreground() == running.process.pid
        os.kill(last_descendant(running.process.pid), signal.SIGTERM)
        terminal.read_until(b"leader foreground True\r\n")
        assert running.process.wait(DEADLINE) == 0


def test_foreground_is_given_back(launcher: str) -> None:
    """At its end pyinit gives the foreground back to its own group, as the starter of a job expects.

    A PID 1 whose group is in an outer namespace has no number for that group.
    """
    argv = Init("subreaper", [launcher]).argv(shell("exit 3"))
    with Terminal() as terminal, terminal.start(python(FOREGROUND, *argv)) as running:
        terminal.read_until(b"given back True\r\n")
        assert running.process.wait(DEADLINE) == 0


def test_foreground_is_handed_over_when_it_comes_later(launcher: str) -> None:
    """A job started in the background gets the foreground by `fg`, and not by `bg`. At its end pyinit takes it back."""
    argv = Init("subreaper", [launcher]).argv(python(LISTENER))
    gate, opener = os.pipe()
    with Terminal() as terminal, terminal.start(
            python(CONTINUES, str(gate), *argv), pass_fds=(gate,)) as running:
        job = int(terminal.read_until(b"started\r\n").split()[-2])
        terminal.read_until(b"foreground False\r\n")
        main = last_descendant(job)
        os.write(opener, b"x")
        terminal.read_until(b"<18>\r\n")
        assert terminal.foreground() == running.process.pid
        os.write(opener, b"x")
        terminal.read_until(b"<18>\r\n")
        assert terminal.foreground() == main
        os.kill(main, signal.SIGTERM)
        terminal.read_until(b"given back True\r\n")
        assert running.process.wait(DEADLINE) == 0
    os.close(gate)
    os.close(opener)


def test_foreground_is_not_taken_back_from_another_group(launcher: str) -> None:
    """A shell that takes the terminal while the job runs, as after Ctrl-Z, keeps it when the job ends."""
    argv = Init("subreaper", [launcher]).argv(shell("echo x >&8; read line <&9"))
    with Terminal() as terminal, terminal.start(python(TAKES_FOREGROUND, *argv)) as running:
        terminal.read_until(b"still mine True\r\n")
        assert running.process.wait(DEADLINE) == 0


def test_foreground_is_taken_back_from_a_group_that_is_gone(launcher: str) -> None:
    """A shell as the main child may end while the group of a killed job is in the foreground."""
    argv = Init("subreaper", [launcher]).argv(python(LEAVES_FOREGROUND))
    with Terminal() as terminal, terminal.start(python(FOREGROUND, *argv)) as running:
        terminal.read_until(b"given back True\r\n")
        assert running.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("name", ["sh", "bash"])
def test_job_of_an_interactive_shell(any_init: Init, name: str) -> None:
    """If pyinit is a job, its main child can read from the terminal, and afterwards the shell can again."""
    job = shlex.join(any_init.argv(shell('read line; echo "got <$line>"; exit 7')))
    if not shutil.which(name):
        pytest.skip(f"no {name}")
    with Terminal() as terminal, terminal.start([shutil.which(name), *SHELLS[name]], env=PLAIN) as running:
        for _ in range(2):
            terminal.read_until(b"next> ")
            terminal.type(job.encode() + b"; echo code=$?\n")
            terminal.type(b"typed\n")
            terminal.read_until(b"got <typed>\r\n")
            terminal.read_until(b"code=7\r\n")
        terminal.read_until(b"next> ")
        terminal.type(b"exit 9\n")
        assert running.process.wait(DEADLINE) == 9


def test_hangup(init: Init, session: str) -> None:
    """When the terminal hangs up, the main child gets SIGHUP, tty_ioctl(4)."""
    terminal = Terminal()
    with start(init, session, terminal, python(UNTIL_SIGNAL)) as running:
        try:
            terminal.read_until(b"running\r\n")
        finally:
            terminal.__exit__()
        assert running.process.wait(DEADLINE) in (128 + signal.SIGHUP, -signal.SIGHUP)


def test_messages_from_the_background(any_init: Init, session: str) -> None:
    """With `stty tostop` output stops a background process, but not pyinit, which blocks SIGTTOU."""
    command = shell("stty tostop; (true &); read line; exit 3")
    with Terminal() as terminal, start(any_init, session, terminal, command, ["-w"]) as running:
        terminal.read_until(b"reaped zombie process")
        terminal.type(b"\n")
        assert running.process.wait(DEADLINE) == 3


def test_terminal_that_is_not_stdin(init: Init, session: str) -> None:
    """If stdin is no terminal, pyinit does not change the foreground, and the main child is not in it."""
    command = python("import os; print('foreground', os.tcgetpgrp(1) == os.getpgrp())")
    inside = ["setsid", "--ctty"] if session == "inner" else []
    argv = init.argv(shell('exec "$@" </dev/null', *init.program, "-s", "--", *command), inside=inside)
    with Terminal() as terminal, terminal.start(argv, init.mode, controlling=not inside) as running:
        terminal.read_until(b"foreground False\r\n")
        assert running.process.wait(DEADLINE) == 0
