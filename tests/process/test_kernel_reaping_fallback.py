"""Without kernel reaping pyinit warns and reaps by the loop. PYINIT_REAP is checked, and --reap overrides it."""

from __future__ import annotations

import errno
import platform
import signal
from pathlib import Path

import pytest

from support.inits import Init
from support.orphans import ON_DEMAND, ONE_BY_ONE, run_scene, scene
from support.proc import children_of
from support.processes import run, shell
from support.sandbox import refuse_call
from support.settings import DEADLINE
from support.terminal import Terminal
from support.waiting import wait_until
from test_kernel_reaping import PERSONALITIES, ignores_sigchld, needs_kernel

BOTH_REAPERS = True
FALLS_BACK = b"pyinit: warning: --reap kernel is not possible here ("


def test_warning_on_reap_needs_the_loop(init: Init) -> None:
    lines = run_scene(init, scene(ONE_BY_ONE, 5), ["--reap", "kernel", "-w"]).splitlines()
    assert (lines[0].startswith(FALLS_BACK), len(lines)) == (True, 6)
    assert all(b"reaped zombie process" in line for line in lines[1:])


# The number of pidfd_open(2), the same on nearly every architecture.
PIDFD_OPEN = 434


def refuse_pidfd() -> None:
    """Refuse pidfd_open(2), as Linux before 5.3 does."""
    refuse_call(PIDFD_OPEN, errno.ENOSYS)


@pytest.mark.skipif(platform.machine() == "alpha", reason="system calls have other numbers there")
def test_unsupported_falls_back_to_the_loop(launcher: str) -> None:
    init = Init("subreaper", [launcher], "kernel")
    with init.start(scene(ONE_BY_ONE, 50), preexec_fn=refuse_pidfd) as running:
        running.expect("done")
        wait_until(lambda: len(children_of(running.pid)) == 1, "all orphans to be reaped")
        assert not ignores_sigchld(running.pid)
        result = running.finish()
        assert (result.code, result.err.count(b"\n")) == (57, 1)
        assert result.err.startswith(FALLS_BACK)


# The number of pidfd_send_signal(2), the same on nearly every architecture.
PIDFD_SEND_SIGNAL = 424


@pytest.mark.skipif(platform.machine() == "alpha", reason="system calls have other numbers there")
@pytest.mark.parametrize("error", [errno.EPERM, errno.ENOSYS, errno.EINVAL])
def test_refused_signals_fall_back_to_the_loop(mode: str, launcher: str, error: int) -> None:
    """In a sandbox that allows pidfd_open(2) and refuses to send by a pidfd, pyinit warns once and forwards signals."""
    init = Init(mode, [launcher], "kernel")
    refused = {"preexec_fn": lambda: refuse_call(PIDFD_SEND_SIGNAL, error)}
    result = init.run(shell("trap 'exit 7' TERM; kill -TERM $PPID; while :; do sleep 0.01; done"), **refused)
    assert (result.code, result.err.startswith(FALLS_BACK), result.err.count(b"\n")) == (7, True, 1)
    deaf = shell("trap '' TERM; kill -TERM $PPID; while :; do sleep 0.01; done")
    result = init.run(deaf, ["--kill-after", "0.05"], **refused)
    assert (result.code, result.err.count(b"\n")) == (128 + signal.SIGKILL, 1)


def test_job_control_needs_the_loop(launcher: str) -> None:
    """If SIGCHLD is ignored, the kernel reports no stop: a job that stops would keep the terminal forever."""
    with Terminal() as terminal, terminal.start(Init("subreaper", [launcher], "kernel").argv(["cat"])) as running:
        terminal.read_until(FALLS_BACK)
        terminal.read_until(b"\r\n")  # what is typed before would be shown within the line
        terminal.type(b"one\n")
        terminal.read_until(b"one\r\none\r\n")
        terminal.type(b"\x04")
        assert running.process.wait(DEADLINE) == 0


def test_old_kernel_falls_back_to_the_loop(launcher: str) -> None:
    """pyinit goes by the kernel's version, here under setarch(8) --uname-2.6, even if the kernel lacks nothing."""
    result = run(["setarch", "--uname-2.6", launcher, "-s", "--reap", "kernel", "--", *shell("exit 6")])
    assert result.code == 6
    assert result.err.startswith(FALLS_BACK + b"Linux 2.6 is older than 6.15") and result.err.count(b"\n") == 1


@needs_kernel
def test_descriptors_used_up(init: Init) -> None:
    """Under a small RLIMIT_NOFILE either the kernel or the loop reaps, all orphans and with the right exit code.

    With four descriptors, the last of which is the bundle's, a subreaper could not load prctl(2) either.
    """
    kept = ["kernel" if run_with_descriptors(init, limit) else "loop" for limit in range(5, 12)]
    assert kept[-1] == "kernel" and kept[0] == "loop", kept


def run_with_descriptors(init: Init, limit: int) -> bool:
    """Run a scene under a limit of descriptors, which the main child raises; return whether the kernel reaped."""
    raise_limit = shell('ulimit -n 1000; exec "$@"', *scene(ON_DEMAND, 9))
    with init.start(raise_limit, ["--reap", "kernel"], inside=["prlimit", f"--nofile={limit}:1000"]) as running:
        running.expect("ready")
        running.write(b"\n")
        running.expect("done")
        pid = running.pid
        wait_until(lambda: len(children_of(pid)) == 1, "all orphans to be reaped")
        by_kernel = ignores_sigchld(pid)
        result = running.finish()
        assert result.code == 57
        if by_kernel:
            assert result.err == b""
        else:
            assert (result.err.startswith(FALLS_BACK), result.err.count(b"\n")) == (True, 1), (limit, result.err)
        return by_kernel


@pytest.mark.parametrize("shut", ["<&-", ">&-", "2>&-", "<&- >&-", "<&- >&- 2>&-"])
def test_stdio_closed(init: Init, shut: str, tmp_path: Path) -> None:
    """With closed stdio, pyinit's own descriptors have these numbers; the main child must not inherit them."""
    listed = tmp_path / "descriptors"
    script = f'ls -l /proc/$$/fd > {listed}; ( : & ); exit 33'
    assert init.run(shell(script), inside=shell(f'exec "$@" {shut}')).code == 33
    assert "anon_inode" not in listed.read_text()


@pytest.mark.parametrize("name", [*PERSONALITIES, "pause"])
@pytest.mark.parametrize("value", ["x", "Kernel", "kernel ", "0"])
def test_bad_values_are_refused(name: str, value: str, launcher: str) -> None:
    command = [] if name == "pause" else ["true"]
    result = run([launcher, "--as", name, *command], env={"PYINIT_REAP": value})
    assert (result.code, result.out) == (1, b"")
    assert result.err == f"pyinit: PYINIT_REAP '{value}': expected wait or kernel\n".encode()


def test_the_command_line_wins(launcher: str) -> None:
    result = run([launcher, "-s", "--reap", "wait", "--", "grep", "SigIgn", "/proc/self/status"],
                 env={"PYINIT_REAP": "nonsense"})
    assert (result.code, result.err) == (0, b"")
