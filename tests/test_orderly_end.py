"""The end of what is left when the main child ends, and who gets which signal until then; the stages are a table in
test_shutdown.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
from time import monotonic
from types import SimpleNamespace
from typing import Optional

import pytest
from support import (DEADLINE, NAMESPACE, Init, Running, children_of, number_of, observe_for, python, read_stat,
                     read_status, shell, wait_until)
from test_idle import count_wakeups
from test_pause import enter

from pyinit.child import descendants
from pyinit.log import Log
from pyinit.options import Options
from pyinit.supervisor.orderly_end import LOOK_AGAIN, OrderlyEnd
from pyinit.supervisor.reaper import WaitReaper

BOTH_REAPERS = True

# Far beyond the tests' own deadline: who waits so long fails.
LONG = "1000"

# Starts a helper for each further argument and is the main child itself, which ends with exit code 40 upon any byte or
# the end of stdin. The helpers say `NAME N` for each signal N but SIGCONT, and then:
#   polite     ends upon SIGTERM
#   stubborn   goes on
#   daemon     is polite, in a session of its own, with a parent that has exited
#   stopped    is polite, and stops itself first
#   last       is polite, and ends only when the pipe that is fd 3 is closed by whoever runs the test
#   a) S 1 (b  is stubborn; a process may have any name, and /proc/PID/stat has it as it is
#   other      is polite, and becomes another user's
#   forker     leaves an orphan after another, and ignores SIGTERM
# The main child is deaf if the first argument is that: it blocks every signal, says each but SIGCONT as `main N`, and
# ends upon SIGUSR1 with exit code 41.
FAMILY = """
import os, signal, sys

waited = {*range(1, 65)} - {9, 19, 17, 32, 33}
signal.pthread_sigmask(signal.SIG_BLOCK, waited)
alive, hold = os.pipe()

def say(text):
    os.write(1, text.encode() + b"\\n")

def helper(name):
    if name == "daemon":
        os.setsid()
        if os.fork():
            os._exit(0)
    os.close(0)
    os.write(hold, b"x")
    if name == "forker":
        while True:
            child = os.fork()
            if child == 0:
                if os.fork() == 0:
                    os._exit(0)
                os._exit(0)
            os.waitpid(child, 0)
    with open("/proc/self/comm", "w") as file:
        file.write(name)
    if name == "other":
        os.setgroups([])
        os.setgid(1234)
        os.setuid(1234)
    if name == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    while True:
        number = int(signal.sigwait(waited))
        if number != signal.SIGCONT:
            say("%s %d" % (name, number))
        if number == signal.SIGTERM and name != "stubborn":
            if name == "last":
                os.read(3, 1)
            os._exit(7)

kind, *names = sys.argv[1:]
for name in names:
    if os.fork() == 0:
        helper(name)
for name in names:
    os.read(alive, 1)
say("ready")
if kind == "deaf":
    while True:
        number = int(signal.sigwait(waited))
        if number != signal.SIGCONT:
            say("main %d" % number)
        if number == signal.SIGUSR1:
            os._exit(41)
signal.pthread_sigmask(signal.SIG_UNBLOCK, waited)
os.read(0, 1)
os._exit(40)
"""


def family(*names: str, kind: str = "main") -> list[str]:
    """The main child above, with helpers."""
    return python(FAMILY, kind, *names)


def start(init: Init, options: list[str], *names: str, kind: str = "main", **popen) -> Running:
    """Start a family and wait until it is complete."""
    running = init.start(family(*names, kind=kind), options, **popen)
    try:
        running.expect("ready")
        running.note_sessions()  # a daemon's
    except BaseException:
        running.__exit__()
        raise
    return running


def end_main(running: Running) -> None:
    """Have the main child end."""
    running.write(b"\n")


def code_of(running: Running) -> int:
    """pyinit's exit code, once it has ended."""
    return running.process.wait(DEADLINE)


def read_lines(running: Running, count: int) -> list[str]:
    """The next lines, in any order."""
    return sorted(running.read_line() for _ in range(count))


def wait_for_end_of_main(running: Running, main: int) -> None:
    """Wait until pyinit has learnt that its main child has ended."""
    wait_until(lambda: not read_stat(main), "the main child to be reaped")


# --grace


def test_all_that_is_left_is_asked_to_end(init: Init) -> None:
    """It is over with the last one, long before the deadline; a daemon has been adopted, and a stopped one goes on."""
    with start(init, ["--grace", LONG], "polite", "daemon", "stopped", "polite") as running:
        end_main(running)
        assert read_lines(running, 4) == ["daemon 15", "polite 15", "polite 15", "stopped 15"]
        assert code_of(running) == 40
        assert running.finish() == (40, b"", b"")


def test_without_grace_nobody_is_asked(init: Init) -> None:
    """The test above can fail: as PID 1 the kernel kills them, and as a subreaper they are left alone."""
    with start(init, [], "stubborn", "daemon") as running:
        end_main(running)
        assert running.finish() == (40, b"", b"")


def test_it_ends_no_sooner_than_the_last_one(init: Init) -> None:
    gate, opener = os.pipe()
    with start(init, ["--grace", LONG], "polite", "last", preexec_fn=lambda: os.dup2(gate, 3),
               pass_fds=(3,) if gate == 3 else (3, gate)) as running:
        main = running.main_child
        end_main(running)
        assert read_lines(running, 2) == ["last 15", "polite 15"]
        wait_for_end_of_main(running, main)
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
        assert [read_stat(pid) for pid in left] == [[], [], []]


def test_nobody_is_left(init: Init) -> None:
    assert init.run(shell("exit 9"), ["--grace", LONG]) == (9, b"", b"")
    assert init.run(shell("kill -KILL $$"), ["--grace", LONG, "--wait-all"]) == (137, b"", b"")


def test_a_storm_does_not_put_the_deadline_off(init: Init) -> None:
    """Those who fork without end keep SIGCHLD coming."""
    with start(init, ["--grace", "0.3"], "forker", "forker", "forker", "forker") as running:
        end_main(running)
        assert code_of(running) == 40


def test_orphans_in_the_grace_are_reaped(init: Init) -> None:
    with start(init, ["--grace", LONG], "forker", "stubborn") as running:
        main = running.main_child
        pid = running.pid
        end_main(running)
        running.expect("stubborn 15")
        wait_for_end_of_main(running, main)
        wait_until(lambda: len(children_of(pid)) <= 3, "orphans to be reaped in the grace")
        running.send(signal.SIGTERM)
        assert code_of(running) == 40


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_a_termination_signal_cuts_the_grace_short(init: Init, number: int) -> None:
    with start(init, ["--grace", LONG], "stubborn") as running:
        end_main(running)
        running.expect("stubborn 15")
        running.send(number)
        assert code_of(running) == 40


def test_another_signal_does_not_cut_the_grace_short(init: Init) -> None:
    """It is forwarded to who is left."""
    with start(init, ["--grace", LONG], "stubborn") as running:
        main = running.main_child
        end_main(running)
        running.expect("stubborn 15")
        wait_for_end_of_main(running, main)
        for number in (signal.SIGHUP, signal.SIGRTMIN + 3):
            running.send(number)
            running.expect(f"stubborn {int(number)}")
        running.send(signal.SIGTERM)
        assert code_of(running) == 40


def test_second_termination_signal_of_all(init: Init) -> None:
    """`docker stop`, twice: the first ends the main child and begins the grace, the second ends that."""
    with start(init, ["--grace", LONG], "stubborn") as running:
        running.send(signal.SIGTERM)
        running.expect("stubborn 15")
        running.send(signal.SIGTERM)
        assert code_of(running) == 143


def test_a_bystander_lives(init: Init) -> None:
    """As a subreaper pyinit ends its descendants, and nobody else of its session or user."""
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


# Leaves a process whose first thread has ended: /proc shows a zombie, whose other threads run. argv[1]: the number of
# exit(2).
HEADLESS = """
import ctypes, os, sys, threading, time
alive, hold = os.pipe()
if os.fork() == 0:
    os.close(0)
    threading.Thread(target=time.sleep, args=(1000,)).start()
    ctypes.CDLL(None).syscall(int(sys.argv[1]), 0)
os.close(hold)
os.write(1, b"ready\\n")
os.read(0, 1)
os._exit(40)
"""


def test_process_whose_first_thread_has_ended(init: Init) -> None:
    with init.start(python(HEADLESS, str(number_of("exit"))), ["--grace", "0"]) as running:
        running.expect("ready")
        headless = children_of(running.main_child)[0]
        wait_until(lambda: read_stat(headless)[0] == "Z", "its first thread to end")
        running.write(b"\n")
        assert running.process.wait(DEADLINE) == 40
        assert not read_stat(headless)


def test_signal_to_all_without_a_proc_of_its_own(launcher: str, namespaces: bool) -> None:
    """Under a /proc of another PID namespace nobody can be found: the main child gets the signal all the same."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    argv = Init("subreaper", [launcher]).argv(family(kind="deaf"), ["--signal-to", "all"])
    foreign = [argument for argument in NAMESPACE if argument != "--mount-proc"]
    with Running([*foreign, *shell('"$@" & echo; wait $!; exit $?', *argv)], "pid1") as running:
        assert {running.read_line(), running.read_line()} == {"", "ready"}
        os.kill(children_of(running.pid)[0], signal.SIGUSR1)
        running.expect("main 10")
        assert running.finish().code == 41


def test_one_who_may_not_be_signalled_does_not_spare_the_rest(init: Init, needs_root: None) -> None:
    """What is sent to all goes on with the next one, kill(2) EPERM."""
    inside = ["setpriv", "--bounding-set", "-kill", "--inh-caps", "-kill"]
    with start(init, ["--signal-to", "all"], "other", "polite", kind="deaf", inside=inside) as running:
        running.send(signal.SIGUSR2)
        assert read_lines(running, 2) == ["main 12", "polite 12"]
        running.send(signal.SIGUSR1)
        assert code_of(running) == 41


def test_a_grace_that_is_longer_than_a_call_can_wait(init: Init) -> None:
    """poll(2) takes milliseconds in a C int: not four weeks."""
    with start(init, ["--grace", "10000000"], "stubborn") as running:
        main = running.main_child
        end_main(running)
        running.expect("stubborn 15")
        wait_for_end_of_main(running, main)
        wait_until(lambda: read_stat(running.pid)[0] == "S", "pyinit to wait")
        running.send(signal.SIGTERM)
        result = running.finish()
        assert (result.code, result.err) == (40, b"")


def test_who_may_not_be_killed_does_not_keep_the_container(init: Init) -> None:
    """Without CAP_KILL a process of another user cannot be killed: past the deadline pyinit ends all the same."""
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


# --wait-all


def test_waiting_for_all_forwards_to_all(init: Init) -> None:
    with start(init, ["--wait-all"], "polite", "daemon", "stubborn") as running:
        main = running.main_child
        end_main(running)
        wait_for_end_of_main(running, main)
        running.send(signal.SIGUSR2)
        assert read_lines(running, 3) == ["daemon 12", "polite 12", "stubborn 12"]
        running.send(signal.SIGTERM)
        assert read_lines(running, 3) == ["daemon 15", "polite 15", "stubborn 15"]
        wait_until(lambda: len(children_of(running.pid)) == 1, "two to end")
        assert running.process.poll() is None
        os.kill(children_of(running.pid)[0], signal.SIGKILL)
        assert code_of(running) == 40


def test_waiting_for_all_does_not_wake_up(init: Init) -> None:
    """No timer where there is no deadline."""
    with start(init, ["--wait-all", "--kill-after", LONG, "--grace", LONG], "polite") as running:
        main = running.main_child
        end_main(running)
        wait_for_end_of_main(running, main)
        assert count_wakeups(running.pid) == 0
        running.send(signal.SIGTERM)
        running.expect("polite 15")
        assert code_of(running) == 40


def test_waiting_for_a_deadline_does_not_wake_up(init: Init) -> None:
    """Before it has come."""
    with start(init, ["--grace", LONG], "stubborn") as running:
        main = running.main_child
        end_main(running)
        running.expect("stubborn 15")
        wait_for_end_of_main(running, main)
        assert count_wakeups(running.pid) == 0
        running.send(signal.SIGTERM)
        assert code_of(running) == 40


def test_waiting_for_all_then_grace(init: Init) -> None:
    """The grace begins with the termination signal."""
    with start(init, ["--wait-all", "--grace", "0.3"], "polite", "stubborn") as running:
        main = running.main_child
        end_main(running)
        wait_for_end_of_main(running, main)
        running.send(signal.SIGTERM)
        assert code_of(running) == 40
        out = running.finish().out.split(b"\n")
        assert b"polite 15" in out and b"stubborn 15" in out


def test_a_termination_signal_just_when_the_main_child_ends(init: Init) -> None:
    """It begins the grace, whichever of the two pyinit sees first."""
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


def settle(pid: int) -> None:
    """Wait until pyinit is in its loop: a signal that has been taken says so."""
    os.kill(pid, signal.SIGCONT)
    wait_until(lambda: not int(read_status(pid)["ShdPnd"], 16) and read_stat(pid)[0] == "S", "pyinit to be idle")


# --kill-after and --stop-signal


def test_a_main_child_that_does_not_end_is_killed(init: Init) -> None:
    with start(init, ["--kill-after", "0.3"], kind="deaf") as running:
        running.send(signal.SIGTERM)
        running.expect("main 15")
        assert running.finish() == (137, b"", b"")


def test_a_main_child_that_ends_in_time_is_not_killed(init: Init) -> None:
    with start(init, ["--kill-after", LONG], kind="deaf") as running:
        running.send(signal.SIGTERM)
        running.expect("main 15")
        running.send(signal.SIGUSR1)
        assert running.finish() == (41, b"main 10\n", b"")


def test_other_signals_do_not_kill_after(init: Init) -> None:
    with start(init, ["--kill-after", "0.2"], kind="deaf") as running:
        running.send(signal.SIGHUP)
        running.expect("main 1")
        observe_for(0.5)
        running.send(signal.SIGTERM)
        running.expect("main 15")
        assert code_of(running) == 137


def test_kill_after_then_grace(init: Init) -> None:
    with start(init, ["--kill-after", "0.2", "--grace", LONG], "polite", kind="deaf") as running:
        running.send(signal.SIGINT)
        running.expect("main 2")
        running.expect("polite 15")
        assert code_of(running) == 137


def test_stop_signal_is_the_termination_signal(init: Init) -> None:
    """And SIGTERM is then none."""
    with start(init, ["--kill-after", "0.2", "--stop-signal", "RTMIN+3"], kind="deaf") as running:
        running.send(signal.SIGTERM)
        running.expect("main 15")
        observe_for(0.5)
        running.send(signal.SIGRTMIN + 3)
        running.expect(f"main {signal.SIGRTMIN + 3}")
        assert code_of(running) == 137


# --ok-on-stop


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_death_by_a_forwarded_signal_is_ok(init: Init, number: int) -> None:
    with start(init, ["--ok-on-stop"]) as running:
        running.send(number)
        assert code_of(running) == 0


def test_other_ends_are_not_ok(init: Init) -> None:
    assert init.run(shell("kill -TERM $$"), ["--ok-on-stop"]).code == 143
    with start(init, ["--ok-on-stop", "--kill-after", "0.1"], kind="deaf") as running:
        running.send(signal.SIGTERM)
        assert code_of(running) == 137
    with start(init, ["--ok-on-stop"], kind="deaf") as running:
        running.send(signal.SIGUSR1)
        assert code_of(running) == 41
    with start(init, ["--ok-on-stop"]) as running:
        running.send(signal.SIGWINCH)
        os.kill(running.main_child, signal.SIGTERM)
        assert code_of(running) == 143


def test_signal_after_the_end_did_not_stop_it(init: Init) -> None:
    """The main child has died by another one, whose number is the same."""
    with start(init, ["--ok-on-stop", "--grace", LONG], "stubborn") as running:
        main = running.main_child
        os.kill(main, signal.SIGTERM)
        running.expect("stubborn 15")
        wait_for_end_of_main(running, main)
        running.send(signal.SIGTERM)
        assert code_of(running) == 143


def test_ok_on_stop_with_grace_and_rewriting(init: Init) -> None:
    options = ["--ok-on-stop", "--grace", LONG, "--rewrite", "TERM:INT"]
    with start(init, options, "polite") as running:
        running.send(signal.SIGTERM)
        running.expect("polite 15")
        assert code_of(running) == 0


# --signal-to


@pytest.mark.parametrize("whom, heard", [("main", ["main 12"]), ("group", ["main 12", "polite 12"]),
                                         ("all", ["daemon 12", "main 12", "polite 12"])])
def test_whom_a_signal_goes_to(init: Init, whom: str, heard: list[str]) -> None:
    with start(init, ["--signal-to", whom], "polite", "daemon", kind="deaf") as running:
        running.send(signal.SIGUSR2)
        assert read_lines(running, len(heard)) == heard
        os.kill(running.main_child, signal.SIGUSR1)
        assert running.finish() == (41, b"main 10\n", b"")


@pytest.mark.parametrize("name", ["a) S 1 (b", "a) Z (b", "a ) (", ")", "("])
def test_name_that_looks_like_the_rest_of_a_line(init: Init, name: str) -> None:
    """Who gets what is sent to all is read from /proc/PID/stat, where the name of a process may be anything."""
    with start(init, ["--signal-to", "all"], name, kind="deaf") as running:
        running.send(signal.SIGUSR2)
        assert read_lines(running, 2) == sorted([f"{name} 12", "main 12"])
        running.send(signal.SIGUSR1)
        assert code_of(running) == 41


# --rewrite


@pytest.mark.parametrize("rewrite, sent, heard", [
    (["TERM:QUIT"], 15, "main 3"), (["15:3"], 15, "main 3"), (["SIGTERM:SIGRTMIN+2"], 15, "main 36"),
    (["RTMIN+1:HUP"], 35, "main 1"), (["TERM:QUIT", "TERM:INT"], 15, "main 2"), (["TERM:INT", "INT:HUP"], 15, "main 2"),
    (["RTMAX:RTMAX-1"], 64, "main 63")])
def test_signals_are_rewritten(init: Init, rewrite: list[str], sent: int, heard: str) -> None:
    options = [argument for pair in rewrite for argument in ("--rewrite", pair)]
    with start(init, options, kind="deaf") as running:
        running.send(sent)
        running.expect(heard)
        running.send(signal.SIGUSR1)
        assert running.finish() == (41, b"main 10\n", b"")


@pytest.mark.parametrize("none", ["0", "none", "NONE"])
def test_signals_are_dropped(init: Init, none: str) -> None:
    with start(init, ["--rewrite", f"HUP:{none}", "--rewrite", f"TERM:{none}"], kind="deaf") as running:
        for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1):
            running.send(number)
        assert running.finish() == (41, b"main 10\n", b"")


def test_a_dropped_termination_signal_stops_nothing(init: Init) -> None:
    """The main child has not been asked to end."""
    with start(init, ["--rewrite", "TERM:none", "--kill-after", "0"], kind="deaf") as running:
        running.send(signal.SIGTERM)
        observe_for(0.3)
        running.send(signal.SIGUSR1)
        assert running.finish() == (41, b"main 10\n", b"")


def test_a_process_put_into_the_namespace_has_the_grace(launcher: str, namespaces: bool) -> None:
    """What `docker exec` starts is no descendant of PID 1, and its end raises no SIGCHLD there."""
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    with start(Init("pid1", [launcher]), ["--grace", LONG]) as running:
        other = enter(running.pid, family("polite", kind="deaf"))
        try:
            assert other.stdout.readline() == b"ready\n"
            end_main(running)
            assert sorted(other.stdout.readline() for _ in range(2)) == [b"main 15\n", b"polite 15\n"]
            assert running.process.poll() is None
            running.send(signal.SIGUSR1)
            assert code_of(running) == 40
        finally:
            other.kill()
            other.wait()
            other.stdout.close()


def test_everything_at_once(init: Init) -> None:
    """The second SIGTERM cuts the grace short, so that no time is tested here."""
    options = ["--signal-to", "all", "--rewrite", "TERM:HUP", "--grace", LONG, "--kill-after", "0.3", "--wait-all",
               "--ok-on-stop", "-e", "137", "--stop-signal", "TERM"]
    with start(init, options, "polite", "stubborn", kind="deaf") as running:
        running.send(signal.SIGTERM)
        assert read_lines(running, 3) == ["main 1", "polite 1", "stubborn 1"]
        assert read_lines(running, 2) == ["polite 15", "stubborn 15"]
        running.send(signal.SIGTERM)
        assert code_of(running) == 0


# Without a process


def make_end(**options) -> OrderlyEnd:
    """An orderly end as a command line asks for it."""
    return OrderlyEnd(Options(**options), Log(0, lambda: None))


@pytest.mark.parametrize("left, strangers, least, most", [
    (None, False, -1, -1), (None, True, LOOK_AGAIN, LOOK_AGAIN), (-5, False, 0, 0), (-5, True, 0, 0),
    (1000, False, 900, 1000), (1000, True, LOOK_AGAIN, LOOK_AGAIN), (LOOK_AGAIN / 2, True, 0, LOOK_AGAIN / 2)])
def test_how_long_it_waits(left: Optional[float], strangers: bool, least: float, most: float) -> None:
    """Seconds up to the deadline, or to the next look for strangers; never a negative number, which would be for ever,
    because the deadline has just passed.
    """
    end = make_end(grace=0)
    if left is not None:
        end.shutdown.deadline = monotonic() + left
    end.strangers = strangers
    assert least <= end.timeout() <= most


@pytest.mark.parametrize("grace, found, leaves", [(0, False, True), (0, True, False), (1000, False, False)])
def test_it_leaves_when_none_to_be_killed_can_be_found(monkeypatch, grace: float, found: bool, leaves: bool) -> None:
    """They could be waited for in vain."""
    monkeypatch.setattr("pyinit.supervisor.orderly_end.send_to_all", lambda number: found)
    reaper = WaitReaper()
    assert make_end(grace=grace).advance(signal.SIGCHLD, 0, reaper) == leaves


@pytest.mark.parametrize("itself, found, sent", [
    ("7", True, [(8, 15), (9, 15)]), ("700", False, []), (None, False, [])])
def test_proc_of_another_namespace(monkeypatch, itself: Optional[str], found: bool, sent: list) -> None:
    """Its numbers are other processes: nothing is sent by them, and nothing when there is no /proc."""
    kills = []

    def readlink(path: str) -> str:
        assert path == "/proc/self"
        if itself is None:
            raise FileNotFoundError
        return itself

    monkeypatch.setattr(descendants, "posix", SimpleNamespace(getpid=lambda: 7, readlink=readlink,
                                                            kill=lambda *arguments: kills.append(arguments)))
    monkeypatch.setattr(descendants, "descendants", lambda ancestor: [8, 9] if ancestor == 7 else [])
    assert (descendants.send_to_all(15), kills) == (found, sent)
