"""When the main child has ended, --grace ends and --wait-all waits for the processes that are left, and signals go to
all of them.

test_shutdown.py has the stages as a table.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess

import pytest

from support.family import LONG, code_of, end_grace, end_main, end_main_first, family, read_lines, start
from support.inits import Init
from support.proc import children_of, read_stat, read_status
from support.processes import Running, python, shell, source
from support.sandbox import HeldCall, number_of
from support.settings import DEADLINE, NAMESPACE
from support.terminal import Terminal
from support.waiting import wait_until
from test_idle import count_wakeups
from test_kill_after import settle

BOTH_REAPERS = True


def test_all_that_is_left_is_asked_to_end(init: Init) -> None:
    """pyinit ends with the last process, long before the deadline. It adopts a daemon and continues a stopped child."""
    with start(init, ["--grace", LONG], "polite", "daemon", "stopped", "polite") as running:
        end_main(running)
        assert read_lines(running, 4) == ["daemon 15", "polite 15", "polite 15", "stopped 15"]
        assert code_of(running) == 40
        assert running.finish() == (40, b"", b"")


def test_without_grace_nobody_is_asked(init: Init) -> None:
    """The test above can fail: when PID 1 ends, the kernel kills the others, and a subreaper leaves them alone."""
    with start(init, [], "stubborn", "daemon") as running:
        end_main(running)
        assert running.finish() == (40, b"", b"")


def test_it_ends_no_sooner_than_the_last_one(init: Init) -> None:
    gate, opener = os.pipe()
    with start(init, ["--grace", LONG], "polite", "last", preexec_fn=lambda: os.dup2(gate, 3),
               pass_fds=(3,) if gate == 3 else (3, gate)) as running:
        end_main_first(running, "last 15", "polite 15")
        wait_until(lambda: len(children_of(running.pid)) == 1, "all but the last to be reaped")
        assert running.process.poll() is None
        os.close(opener)
        assert code_of(running) == 40
    os.close(gate)


@pytest.mark.parametrize("seconds", ["0", "0.3"])
def test_who_ignores_sigterm_is_killed(init: Init, seconds: str) -> None:
    with start(init, ["--grace", seconds], "stubborn", "polite", "stubborn") as running:
        left = children_of(running.main_child)
        end_main(running)
        assert code_of(running) == 40
        # pyinit does not wait for ever, and leaves a subreaper's killed processes to the next one.
        wait_until(lambda: [read_stat(pid) for pid in left] == [[], [], []], "the killed processes to end")


def test_nobody_is_left(init: Init) -> None:
    assert init.run(shell("exit 9"), ["--grace", LONG]) == (9, b"", b"")
    assert init.run(shell("kill -KILL $$"), ["--grace", LONG, "--wait-all"]) == (137, b"", b"")


def test_a_storm_does_not_put_the_deadline_off(init: Init) -> None:
    """Processes that fork without end cause SIGCHLD after SIGCHLD, and do not delay the end."""
    with start(init, ["--grace", "0.3"], "forker", "forker", "forker", "forker") as running:
        end_main(running)
        assert code_of(running) == 40


def test_orphans_in_the_grace_are_reaped(init: Init) -> None:
    with start(init, ["--grace", LONG], "forker", "stubborn") as running:
        pid = running.pid
        end_main_first(running, "stubborn 15")
        wait_until(lambda: len(children_of(pid)) <= 3, "orphans to be reaped in the grace")
        end_grace(running)
        assert code_of(running) == 40


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_second_termination_signal_cuts_the_grace_short(init: Init, number: int) -> None:
    """When the main child ends by itself, the first one of `docker stop` does not: the others have just got SIGTERM."""
    with start(init, ["--grace", LONG], "stubborn") as running:
        end_main_first(running, "stubborn 15")
        end_grace(running, number)
        assert code_of(running) == 40


def test_another_signal_does_not_cut_the_grace_short(init: Init) -> None:
    """A signal in the grace is forwarded to the processes that are left."""
    with start(init, ["--grace", LONG], "stubborn") as running:
        end_main_first(running, "stubborn 15")
        for number in (signal.SIGHUP, signal.SIGRTMIN + 3):
            running.send(number)
            running.expect(f"stubborn {int(number)}")
        end_grace(running)
        assert code_of(running) == 40


def test_second_termination_signal_of_all(init: Init) -> None:
    """After two `docker stop`s, the first ends the main child and begins the grace, and the second ends the grace."""
    with start(init, ["--grace", LONG], "stubborn") as running:
        running.send(signal.SIGTERM)
        running.expect("stubborn 15")
        running.send(signal.SIGTERM)
        assert code_of(running) == 143


def test_a_bystander_lives(init: Init) -> None:
    """As a subreaper pyinit ends only its descendants, and no other process of its session or user."""
    if init.mode == "pid1":
        pytest.skip("PID 1 sees nobody outside its namespace")
    with subprocess.Popen(["sleep", "1000"]) as bystander, start(init, ["--grace", "0"], "stubborn") as running:
        beside = subprocess.Popen(["sleep", "1000"])
        try:
            end_main(running)
            assert code_of(running) == 40
            assert (bystander.poll(), beside.poll()) == (None, None)
        finally:
            bystander.kill()
            beside.kill()
            beside.wait()


HEADLESS = source("headless")


def test_process_whose_first_thread_has_ended(init: Init) -> None:
    with init.start(python(HEADLESS, str(number_of("exit"))), ["--grace", "0"]) as running:
        running.expect("ready")
        headless = children_of(running.main_child)[0]
        wait_until(lambda: read_stat(headless)[0] == "Z", "its first thread to end")
        running.write(b"\n")
        assert running.process.wait(DEADLINE) == 40
        wait_until(lambda: not read_stat(headless), "the killed process to end")


def test_signal_to_all_without_a_proc_of_its_own(launcher: str, namespaces: None) -> None:
    """With the /proc of another PID namespace pyinit cannot find the others: the main child still gets the signal."""
    argv = Init("subreaper", [launcher]).argv(family(kind="deaf"), ["--signal-to", "all"])
    foreign = [argument for argument in NAMESPACE if argument != "--mount-proc"]
    with Running([*foreign, *shell('"$@" & echo; wait $!; exit $?', *argv)], "pid1") as running:
        assert {running.read_line(), running.read_line()} == {"", "ready"}
        os.kill(children_of(running.pid)[0], signal.SIGUSR1)
        running.expect("main 10")
        assert running.finish().code == 41


def test_signal_to_all_without_a_descriptor(launcher: str) -> None:
    """If pyinit has no descriptor left to read /proc, the main child still gets the signal."""
    with start(Init("subreaper", [launcher]), ["--signal-to", "all"], kind="deaf") as running:
        pid = running.pid
        settle(pid)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (0, 0))
        running.send(signal.SIGUSR1)
        running.expect("main 10")
        assert code_of(running) == 41


def test_one_who_may_not_be_signalled_does_not_spare_the_rest(init: Init, needs_root: None) -> None:
    """If kill(2) fails with EPERM for one process, the others still get the signal."""
    inside = ["setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill"]
    with start(init, ["--signal-to", "all"], "other", "polite", kind="deaf", inside=inside) as running:
        running.send(signal.SIGUSR2)
        assert read_lines(running, 2) == ["main 12", "polite 12"]
        running.send(signal.SIGUSR1)
        assert code_of(running) == 41


def test_a_grace_that_is_longer_than_a_call_can_wait(init: Init) -> None:
    """poll(2) takes milliseconds in a C int, which is less than four weeks."""
    with start(init, ["--grace", "10000000"], "stubborn") as running:
        end_main_first(running, "stubborn 15")
        wait_until(lambda: read_stat(running.pid)[0] == "S", "pyinit to wait")
        end_grace(running)
        result = running.finish()
        assert (result.code, result.err) == (40, b"")


# pyinit waits two seconds for processes that it cannot kill, in any mode.
@pytest.mark.usual("mode", "reaper")
def test_who_may_not_be_killed_does_not_keep_the_container(init: Init) -> None:
    """Without CAP_KILL pyinit cannot kill another user's process, and ends without it after the deadline."""
    if os.geteuid():
        pytest.skip("needs root")
    script = 'setpriv --reuid 1234 --clear-groups sleep 1000 & echo started; read line; exit 6'
    inside = ["setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill"]
    with init.start(shell(script), ["--grace", "0.2"], inside=inside) as running:
        running.expect("started")
        pid = running.pid
        wait_until(lambda: "1234" in [read_status(child).get("Uid", "").split("\t")[0]
                                      for child in children_of(running.main_child)], "the other user's process")
        assert not int(read_status(pid)["CapEff"], 16) >> 5 & 1
        end_main(running)
        assert code_of(running) == 6


def test_waiting_for_all_forwards_to_all(init: Init) -> None:
    with start(init, ["--wait-all"], "polite", "daemon", "stubborn") as running:
        end_main_first(running)
        running.send(signal.SIGUSR2)
        assert read_lines(running, 3) == ["daemon 12", "polite 12", "stubborn 12"]
        running.send(signal.SIGTERM)
        assert read_lines(running, 3) == ["daemon 15", "polite 15", "stubborn 15"]
        wait_until(lambda: len(children_of(running.pid)) == 1, "two to end")
        assert running.process.poll() is None
        os.kill(children_of(running.pid)[0], signal.SIGKILL)
        assert code_of(running) == 40


# Ends with exit code 3 after a line of input, once its child has its own session and ignores SIGTERM.
LEAVES_DAEMON = """
import os, signal
read, write = os.pipe()
if os.fork() == 0:
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.write(write, b"x")
    signal.pause()
os.read(read, 1)
os.read(0, 1)
os._exit(3)
"""


@pytest.mark.parametrize("options", [["--wait-all"], ["--grace", "1000"]], ids=["wait-all", "grace"])
def test_keys_when_the_main_child_has_ended(launcher: str, options: list[str]) -> None:
    """The group that had the terminal is empty: pyinit takes the terminal back, and forwards the key to all."""
    program = python(LEAVES_DAEMON)
    with Terminal() as terminal, terminal.start([launcher, "-s", *options, "--", *program]) as running:
        wait_until(lambda: terminal.foreground() != running.pid, "the main child to have the terminal")
        terminal.type(b"\n")
        wait_until(lambda: terminal.foreground() == running.pid, "pyinit to have the terminal again")
        terminal.type(b"\x03")
        assert running.process.wait(DEADLINE) == 3


# The test observes for a second. The mode decides which processes pyinit waits for, not how it waits.
@pytest.mark.usual("mode")
def test_waiting_for_all_does_not_wake_up(init: Init) -> None:
    """Without a deadline there is no timer."""
    with start(init, ["--wait-all", "--kill-after", LONG, "--grace", LONG], "polite") as running:
        end_main_first(running)
        settle(running.pid)
        assert count_wakeups(running.pid) == 0
        running.send(signal.SIGTERM)
        running.expect("polite 15")
        assert code_of(running) == 40


# See the test above.
@pytest.mark.usual("mode")
def test_waiting_for_a_deadline_does_not_wake_up(init: Init) -> None:
    """pyinit does not wake up before the deadline."""
    with start(init, ["--grace", LONG], "stubborn") as running:
        end_main_first(running, "stubborn 15")
        settle(running.pid)
        assert count_wakeups(running.pid) == 0
        end_grace(running)
        assert code_of(running) == 40


def test_waiting_for_all_then_grace(init: Init) -> None:
    """With --wait-all the grace begins at the termination signal. Its end is held up until that signal has arrived."""
    with HeldCall("kill", {1: signal.SIGKILL}) as held, start(
            init, ["--wait-all", "--grace", "0.3"], "polite", "stubborn", preexec_fn=held.install) as running:
        end_main_first(running)
        running.send(signal.SIGTERM)
        assert read_lines(running, 2) == ["polite 15", "stubborn 15"]
        held.let_through()
        held.release_until(lambda: running.process.poll() is not None)
        assert code_of(running) == 40


def test_the_signal_that_begins_the_grace_is_the_only_one(init: Init) -> None:
    """The processes that are left get the forwarded signal and no SIGTERM; a stopped one goes on. In sigwait(3), a
    SIGTERM would come before a real-time signal.
    """
    with start(init, ["--wait-all", "--grace", LONG, "--rewrite", "TERM:QUIT"], "stubborn", "stopped") as running:
        end_main_first(running)
        running.send(signal.SIGTERM)
        assert read_lines(running, 2) == ["stopped 3", "stubborn 3"]
        running.send(signal.SIGRTMIN + 3)
        last = int(signal.SIGRTMIN + 3)
        assert read_lines(running, 2) == [f"stopped {last}", f"stubborn {last}"]
        running.send(signal.SIGTERM)
        assert code_of(running) == 40


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_sigterm_follows_a_signal_of_the_keyboard(init: Init, number: int) -> None:
    """A shell starts background processes with SIGINT and SIGQUIT ignored."""
    with start(init, ["--wait-all", "--grace", LONG], "polite") as running:
        end_main_first(running)
        running.send(number)
        assert set(read_lines(running, 2)) == {f"polite {int(number)}", "polite 15"}
        assert code_of(running) == 40


def test_a_termination_signal_just_when_the_main_child_ends(init: Init) -> None:
    """The signal begins the grace, whether pyinit sees it or the end of the main child first."""
    with start(init, ["--wait-all", "--grace", LONG], "polite", "daemon") as running:
        main = running.main_child
        pid = running.pid
        settle(pid)
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: read_stat(pid)[0] == "T", "it to stop")
        end_main(running)
        wait_until(lambda: read_stat(main)[:1] in ([], ["Z"]), "the main child to end")
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGCONT)
        assert read_lines(running, 2) == ["daemon 15", "polite 15"]
        assert code_of(running) == 40
