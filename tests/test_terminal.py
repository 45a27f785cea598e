"""The terminal: the main child is in its foreground, keys reach the main child alone, and job control works."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Sequence

import pytest
from support import DEADLINE, Init, Running, Terminal, children_of, python, read_stat, shell, wait_until

# Says whether it is in the foreground, then each signal that it gets, and ends at SIGTERM.
LISTENER = """
import os, signal
waited = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
os.write(1, b"foreground %s\\n" % str(os.tcgetpgrp(0) == os.getpgrp()).encode())
number = 0
while number != signal.SIGTERM:
    number = int(signal.sigwait(waited))
    os.write(1, b"<%d>\\n" % number)
"""
# Leads the session and keeps the foreground: its argv runs in a process group of its own, so in the background.
BACKGROUND = """
import os, sys
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.execv(sys.argv[1], sys.argv[1:])
os.waitpid(child, 0)
os.write(1, b"leader foreground %s\\n" % str(os.tcgetpgrp(0) == os.getpgrp()).encode())
"""
# Runs its argv in the foreground, as a shell runs a job, and says whether that had it in the end.
FOREGROUND = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    os.execv(sys.argv[1], sys.argv[1:])
os.waitpid(child, 0)
os.write(1, b"given back %s\\n" % str(os.tcgetpgrp(0) == child).encode())
"""
# Runs its argv in the foreground, takes that itself when a byte comes by descriptor 8, ends the pipe that is descriptor
# 9 there, and says whether it still has the foreground when that program has ended.
TAKES_FOREGROUND = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
read, write = os.pipe()
said, say = os.pipe()
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    os.dup2(read, 9)
    os.dup2(say, 8)
    os.execv(sys.argv[1], sys.argv[1:])
os.read(said, 1)
os.tcsetpgrp(0, os.getpgrp())
os.close(write)
os.waitpid(child, 0)
os.write(1, b"still mine %s\\n" % str(os.tcgetpgrp(0) == os.getpgrp()).encode())
"""
# Gives the foreground to a job that ends at once, and ends as well: the foreground is a group in which nobody is left.
LEAVES_FOREGROUND = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    os._exit(0)
os.waitpid(job, 0)
"""
# Runs its argv but for the first in the background; has it continue for each byte of the descriptor argv[1]: like `bg`,
# then like `fg`.
CONTINUES = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTTOU})
    os.execv(sys.argv[2], sys.argv[2:])
os.write(1, b"%d started\\n" % job)
for background in (True, False):
    os.read(int(sys.argv[1]), 1)
    if not background:
        os.tcsetpgrp(0, job)
    os.kill(-job, signal.SIGCONT)
os.waitpid(job, 0)
os.write(1, b"given back %s\\n" % str(os.tcgetpgrp(0) == job).encode())
"""
# Says that it runs, and ends by whatever signal comes first.
UNTIL_SIGNAL = "import os, signal; os.write(1, b'running\\n'); signal.pause()"
PLAIN = {"PATH": os.environ["PATH"], "PS1": "next> ", "TERM": "dumb", "HOME": "/"}
SHELLS = {"sh": ["-i"], "bash": ["--norc", "--noprofile", "-i"], "zsh": ["-f", "-i"]}


@pytest.fixture(params=["pid1 inner", "pid1 outer", "subreaper outer"])
def place(request: pytest.FixtureRequest, namespaces: bool) -> list[str]:
    """The mode, and where the session with the terminal begins: in the namespace, as in a container, or outside."""
    if request.param.startswith("pid1") and not namespaces:
        pytest.skip("no PID namespaces can be made here")
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
    """The end of a line of only children."""
    while children_of(pid):
        pid = children_of(pid)[0]
    return pid


def test_foreground_is_handed_over(any_init: Init, session: str) -> None:
    with Terminal() as terminal, start(any_init, session, terminal, python(LISTENER)) as running:
        terminal.read_until(b"foreground True\r\n")
        if session == "outer":  # else its number is that of a session that is not the terminal's here
            assert terminal.foreground() == int(read_stat(running.main_child)[2])
        running.send(signal.SIGTERM)
        terminal.read_until(b"<15>\r\n")
        assert running.process.wait(DEADLINE) == 0


@pytest.mark.core
@pytest.mark.parametrize("options", [[], ["-g"]], ids=["child", "group"])
def test_keys_reach_the_main_child_once(init: Init, session: str, options: list[str]) -> None:
    """Ctrl-C goes to the foreground group, which pyinit is not in: one signal, and not one more that is forwarded."""
    with Terminal() as terminal, start(init, session, terminal, python(LISTENER), options) as running:
        terminal.read_until(b"foreground True\r\n")
        for key, number in ((b"\x03", signal.SIGINT), (b"\x1c", signal.SIGQUIT), (b"\x1a", signal.SIGTSTP)):
            terminal.type(key)
            terminal.read_until(b"<%d>\r\n" % number)
            # What pyinit had got itself, earlier, would be forwarded before this.
            running.send(signal.SIGRTMAX)
            assert terminal.read_until(b"<64>\r\n").count(b"<") == 1
        running.send(signal.SIGTERM)
        terminal.read_until(b"<15>\r\n")
        assert running.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("name", SHELLS)
def test_job_control(any_init: Init, session: str, name: str) -> None:
    """An interactive shell has nothing to complain of; Ctrl-Z stops its job, `fg` lets it go on, Ctrl-C ends it."""
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
        terminal.read_until(b"cat")
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


# Has another process of its group read the terminal; executes the rest of its argv when a byte comes by descriptor
# argv[1].
READ_BY_ANOTHER = """
import os, sys
reader = os.fork()
if reader == 0:
    os.read(0, 1)
    os._exit(0)
os.write(1, b"%d reads\\n" % reader)
os.read(int(sys.argv[1]), 1)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def test_foreground_is_handed_over_beside_another_reader(init: Init) -> None:
    """Where its group has no number, pyinit learns by a read whose the terminal is, and waits for no other reader."""
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
    """In the background pyinit leaves the foreground to whoever has it."""
    argv = any_init.argv(python(LISTENER))
    with Terminal() as terminal, terminal.start(python(BACKGROUND, shutil.which(argv[0]), *argv[1:])) as running:
        terminal.read_until(b"foreground False\r\n")
        assert terminal.foreground() == running.process.pid
        os.kill(last_descendant(running.process.pid), signal.SIGTERM)
        terminal.read_until(b"leader foreground True\r\n")
        assert running.process.wait(DEADLINE) == 0


def test_foreground_is_given_back(launcher: str) -> None:
    """In the end it is pyinit's own group again, which is what whoever runs it as a job expects.

    A PID 1 whose group is of an outer namespace has no number for that group.
    """
    argv = Init("subreaper", [launcher]).argv(shell("exit 3"))
    with Terminal() as terminal, terminal.start(python(FOREGROUND, *argv)) as running:
        terminal.read_until(b"given back True\r\n")
        assert running.process.wait(DEADLINE) == 0


def test_foreground_is_handed_over_when_it_comes_later(launcher: str) -> None:
    """A job that was started in the background gets it by `fg`, and not by `bg`; in the end pyinit takes it back."""
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
    """A shell that has taken the terminal while the job ran, as after Ctrl-Z, keeps it when the job ends."""
    argv = Init("subreaper", [launcher]).argv(shell("echo x >&8; read line <&9"))
    with Terminal() as terminal, terminal.start(python(TAKES_FOREGROUND, *argv)) as running:
        terminal.read_until(b"still mine True\r\n")
        assert running.process.wait(DEADLINE) == 0


def test_foreground_is_taken_back_from_a_group_that_is_gone(launcher: str) -> None:
    """A main child that is a shell may end while a job that was killed has the foreground."""
    argv = Init("subreaper", [launcher]).argv(python(LEAVES_FOREGROUND))
    with Terminal() as terminal, terminal.start(python(FOREGROUND, *argv)) as running:
        terminal.read_until(b"given back True\r\n")
        assert running.process.wait(DEADLINE) == 0


@pytest.mark.parametrize("name", ["sh", "bash"])
def test_job_of_an_interactive_shell(any_init: Init, name: str) -> None:
    """pyinit as a job: its main child reads the terminal, and afterwards the shell does again."""
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
    """When the terminal goes, the main child gets SIGHUP, tty_ioctl(4)."""
    terminal = Terminal()
    with start(init, session, terminal, python(UNTIL_SIGNAL)) as running:
        try:
            terminal.read_until(b"running\r\n")
        finally:
            terminal.__exit__()
        assert running.process.wait(DEADLINE) in (128 + signal.SIGHUP, -signal.SIGHUP)


def test_messages_from_the_background(any_init: Init, session: str) -> None:
    """With `stty tostop` a background process is stopped by its own output: not pyinit, which blocks SIGTTOU."""
    command = shell("stty tostop; (true &); read line; exit 3")
    with Terminal() as terminal, start(any_init, session, terminal, command, ["-w"]) as running:
        terminal.read_until(b"reaped zombie process")
        terminal.type(b"\n")
        assert running.process.wait(DEADLINE) == 3


def test_terminal_that_is_not_stdin(init: Init, session: str) -> None:
    """stdin is no terminal: the foreground is left alone, and the main child is not in it."""
    command = python("import os; print('foreground', os.tcgetpgrp(1) == os.getpgrp())")
    inside = ["setsid", "--ctty"] if session == "inner" else []
    argv = init.argv(shell('exec "$@" </dev/null', *init.program, "-s", "--", *command), inside=inside)
    with Terminal() as terminal, terminal.start(argv, init.mode, controlling=not inside) as running:
        terminal.read_until(b"foreground False\r\n")
        assert running.process.wait(DEADLINE) == 0
