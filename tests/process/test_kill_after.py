"""--kill-after, --stop-signal and --ok-on-stop decide what a termination signal starts, and --signal-to and --rewrite
decide which processes get which signal.
"""

from __future__ import annotations

import os
import signal

import pytest

from support.family import LONG, code_of, end_grace, end_main, family, read_lines, start, wait_for_end_of_main
from support.inits import Init
from support.proc import wait_until_idle
from support.processes import shell
from support.sandbox import HeldCall
from support.waiting import observe_for
from test_pause import enter

BOTH_REAPERS = True


def hold_kill(init: Init) -> HeldCall:
    """Return what holds pyinit back before it kills its main child, so that the main child can print its signal first,
    however short --kill-after is.
    """
    return HeldCall("pidfd_send_signal" if init.reaper == "kernel" else "kill", {1: signal.SIGKILL})


def settle(pid: int) -> None:
    """Wait until pyinit has taken a signal, and so is in its loop."""
    os.kill(pid, signal.SIGCONT)
    wait_until_idle(pid)


def test_a_main_child_that_does_not_end_is_killed(init: Init) -> None:
    with hold_kill(init) as held, start(init, ["--kill-after", "0.3"], kind="deaf",
                                        preexec_fn=held.install) as running:
        running.send(signal.SIGTERM)
        running.expect("main 15")
        held.let_through()
        assert running.finish() == (137, b"", b"")


def test_a_main_child_that_ends_in_time_is_not_killed(init: Init) -> None:
    with start(init, ["--kill-after", LONG], kind="deaf") as running:
        running.send(signal.SIGTERM)
        running.expect("main 15")
        running.send(signal.SIGUSR1)
        assert running.finish() == (41, b"main 10\n", b"")


# Which signal starts --kill-after does not depend on the mode, see test_shutdown.py.
@pytest.mark.usual("mode")
def test_other_signals_do_not_kill_after(init: Init) -> None:
    with hold_kill(init) as held, start(init, ["--kill-after", "0.2"], kind="deaf",
                                        preexec_fn=held.install) as running:
        running.send(signal.SIGHUP)
        running.expect("main 1")
        assert not held.is_made_in(0.5)
        running.send(signal.SIGTERM)
        running.expect("main 15")
        held.let_through()
        assert code_of(running) == 137


def test_kill_after_then_grace(init: Init) -> None:
    with hold_kill(init) as held, start(init, ["--kill-after", "0.2", "--grace", LONG], "polite", kind="deaf",
                                        preexec_fn=held.install) as running:
        running.send(signal.SIGINT)
        running.expect("main 2")
        held.let_through()
        running.expect("polite 15")
        assert code_of(running) == 137


# See test_other_signals_do_not_kill_after().
@pytest.mark.usual("mode")
def test_stop_signal_is_the_termination_signal(init: Init) -> None:
    """With --stop-signal, SIGTERM is no termination signal."""
    with hold_kill(init) as held, start(init, ["--kill-after", "0.2", "--stop-signal", "RTMIN+3"], kind="deaf",
                                        preexec_fn=held.install) as running:
        running.send(signal.SIGTERM)
        running.expect("main 15")
        assert not held.is_made_in(0.5)
        running.send(signal.SIGRTMIN + 3)
        running.expect(f"main {signal.SIGRTMIN + 3}")
        held.let_through()
        assert code_of(running) == 137


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
    """A signal from another process has killed the main child; pyinit got the same signal only later."""
    with start(init, ["--ok-on-stop", "--grace", LONG], "stubborn") as running:
        main = running.main_child
        os.kill(main, signal.SIGTERM)
        running.expect("stubborn 15")
        wait_for_end_of_main(running, main)
        end_grace(running)
        assert code_of(running) == 143


def test_ok_on_stop_with_grace_and_rewriting(init: Init) -> None:
    options = ["--ok-on-stop", "--grace", LONG, "--rewrite", "TERM:INT"]
    with start(init, options, "polite") as running:
        running.send(signal.SIGTERM)
        running.expect("polite 15")
        assert code_of(running) == 0


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
    """pyinit finds the receivers of --signal-to all in /proc/PID/stat, where the name of a process may be any text."""
    with start(init, ["--signal-to", "all"], name, kind="deaf") as running:
        running.send(signal.SIGUSR2)
        assert read_lines(running, 2) == sorted([f"{name} 12", "main 12"])
        running.send(signal.SIGUSR1)
        assert code_of(running) == 41


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
    """A termination signal that is dropped starts no --kill-after: the main child has not been asked to end."""
    with start(init, ["--rewrite", "TERM:none", "--kill-after", "0"], kind="deaf") as running:
        running.send(signal.SIGTERM)
        observe_for(0.3)
        running.send(signal.SIGUSR1)
        assert running.finish() == (41, b"main 10\n", b"")


def test_a_process_put_into_the_namespace_has_the_grace(launcher: str, namespaces: None) -> None:
    """A process that `docker exec` starts is no descendant of PID 1, and its end raises no SIGCHLD there."""
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
    """All options work together. The second SIGTERM cuts the grace short, so that the test does not wait for it."""
    options = ["--signal-to", "all", "--rewrite", "TERM:HUP", "--grace", LONG, "--kill-after", "0.3", "--wait-all",
               "--ok-on-stop", "-e", "137", "--stop-signal", "TERM"]
    with hold_kill(init) as held, start(init, options, "polite", "stubborn", kind="deaf",
                                        preexec_fn=held.install) as running:
        running.send(signal.SIGTERM)
        assert read_lines(running, 3) == ["main 1", "polite 1", "stubborn 1"]
        held.let_through()
        assert read_lines(running, 2) == ["polite 15", "stubborn 15"]
        running.send(signal.SIGTERM)
        held.release_until(lambda: running.process.poll() is not None)  # it kills what is left
        assert code_of(running) == 0
