"""The lean init's command line works as documented: its options, --version, --copy-to and -P, and its messages about
commands that cannot run.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from pyinit import __version__
from support.lean_fixtures import machine, mode, pytest_generate_tests  # noqa: F401
from support.machine import lean_command
from support.proc import children_of, is_blocked
from support.processes import Running, python, run, shell, start_pause
from support.settings import DEADLINE, NAMESPACE
from support.waiting import wait_until
from test_broken_output import full_pipe
from test_exit_codes import refusals
from test_faults import AS_NOBODY, NOBODY, join, process_group_limit  # noqa: F401
from test_pause import ORPHANS, enter

EXPECTED = b"expected [-g] [--] COMMAND [ARG...]"
NATIVE_ONLY = {"test_file_that_nobody_may_read", "test_process_limit", "test_full_pipe_holds_no_signal_up"}


@pytest.fixture
def lean(machine: str, lean_inits: dict[str, str]) -> list[str]:  # noqa: F811
    """Return the command that runs each machine's lean init."""
    return lean_command(machine, lean_inits[machine])


# Options


@pytest.mark.parametrize("options", [[], ["-g"], ["-s"], ["--"], ["-g", "-s"], ["-s", "-g", "--"], ["-g", "-g"]],
                         ids=str)
def test_options(lean: list[str], options: list[str]) -> None:
    assert run([*lean, *options, *shell('echo "$@"; exit 7', "-g", "--", "")]) == (7, b"-g -- \n", b"")


@pytest.mark.parametrize("arguments", [["-x"], ["-gs"], ["-"], ["-p", "true"], ["-h"], ["-v"], ["--g"], ["---"],
                                       ["--versio"], ["--version2"], ["--Version"], ["-+version"],
                                       ["--copy-to2", "x"], ["--copy-to=x"], ["-g", "-x", "true"],
                                       ["-\udcff"], ["--" + "x" * 5000]], ids=str)
def test_options_that_are_refused(lean: list[str], arguments: list[str]) -> None:
    wrong = os.fsencode(next(argument for argument in arguments if argument != "-g"))
    assert run([*lean, *arguments]) == (1, b"", b"pyinit: cannot run '%s': %s\n" % (wrong, EXPECTED))


@pytest.mark.parametrize("arguments", [[], ["--"], ["-g"], ["-g", "-s", "--"], ["--copy-to"]], ids=str)
def test_no_command(lean: list[str], arguments: list[str]) -> None:
    for environment in ({}, {"A": "1"}):
        assert run([*lean, *arguments], env=environment) == (1, b"", b"pyinit: cannot run '': %s\n" % EXPECTED)


def test_version(lean: list[str]) -> None:
    """The text is the one that Docker expects from `docker-init --version`."""
    assert run([*lean, "--version"]) == (0, b"tini version %s_pyinit\n" % __version__.encode(), b"")
    assert run([*lean, "-g", "--version", "true"]).code == 0


def test_docker_calls_it_docker_init(lean: list[str], tmp_path: Path) -> None:
    """Docker mounts it as /sbin/docker-init, and puts two dashes before the command."""
    path = shutil.copy(lean[-1], tmp_path / "docker-init")
    assert run([*lean[:-1], path, "--", "-no-option"]).code == 127
    assert run([*lean[:-1], path, "--", *shell("exit 9")]).code == 9


# --copy-to


def test_copy(lean: list[str], tmp_path: Path) -> None:
    """The copy has the same bytes and mode 755 under any umask; it works, and can copy itself."""
    for mask in (0, 0o22, 0o77, 0o777):
        folder = tmp_path / f"{mask:o}"
        folder.mkdir()
        first = run([*lean, "--copy-to", str(folder / "init")], preexec_fn=lambda: os.umask(mask))
        assert first == (0, b"", b"")
        assert oct((folder / "init").stat().st_mode)[-3:] == "755"
        assert run([*lean[:-1], str(folder / "init"), "--copy-to", str(folder / "again")]) == (0, b"", b"")
        content = Path(lean[-1]).read_bytes()
        assert (folder / "init").read_bytes() == (folder / "again").read_bytes() == content
        assert run([*lean[:-1], str(folder / "again"), "--", *shell("exit 8")]).code == 8


def test_copy_takes_a_relative_path(lean: list[str], tmp_path: Path) -> None:
    assert run([*lean, "--copy-to", "init"], cwd=tmp_path).code == 0
    assert os.listdir(tmp_path) == ["init"]


def test_copy_replaces_what_is_there(lean: list[str], tmp_path: Path) -> None:
    """An init container may run again. A symbolic link is replaced, not its target."""
    (tmp_path / "target").write_text("mine")
    (tmp_path / "target").chmod(0o600)
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "empty").touch(mode=0o600)  # left by a machine that failed during a copy
    shutil.copy(lean[-1], tmp_path / "running")
    content = Path(lean[-1]).read_bytes()
    with Running([*lean[:-1], str(tmp_path / "running"), "--", *shell("echo ready; read line; exit 9")]) as running:
        running.expect("ready")
        for name in ("link", "empty", "running"):
            assert run([*lean, "--copy-to", str(tmp_path / name)]) == (0, b"", b"")
            assert (tmp_path / name).read_bytes() == content and not (tmp_path / name).is_symlink()
            assert oct((tmp_path / name).stat().st_mode)[-3:] == "755"
        assert running.finish().code == 9
    assert (tmp_path / "target").read_text() == "mine" and oct((tmp_path / "target").stat().st_mode)[-3:] == "600"
    assert sorted(os.listdir(tmp_path)) == ["empty", "link", "running", "target"]


def test_copy_leaves_a_folder_alone(lean: list[str], tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = str(tmp_path / "folder")
    assert run([*lean, "--copy-to", path]) == (1, b"", b"pyinit: cannot write '%s': File exists\n" % path.encode())
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.parametrize("limit, reason", [(0, b"error 27"), (100, b"error 28")])
def test_copy_that_does_not_fit(lean: list[str], tmp_path: Path, limit: int, reason: bytes) -> None:
    """No partial file is left: after EFBIG, or after a short write, which is reported as a full disk."""
    path = str(tmp_path / "init")
    assert run(["prlimit", f"--fsize={limit}", *lean, "--copy-to", path], stderr=subprocess.PIPE).code == 1
    assert os.listdir(tmp_path) == []
    # The limit also applies to a message in a file, so the message is read from a pipe.
    done = subprocess.run(["prlimit", f"--fsize={limit}", *lean, "--copy-to", path], capture_output=True)
    assert done.stderr == b"pyinit: cannot write '%s': %s\n" % (path.encode(), reason)


@pytest.mark.parametrize("path, reason", [("/no/such/folder/init", b"No such file or directory"), ("/proc/init", b""),
                                          ("", b"No such file or directory"), ("/" + "x" * 300, b"error 36"),
                                          ("/etc/passwd/init", b"error 20")])
def test_copy_to_where_nothing_can_be(lean: list[str], path: str, reason: bytes) -> None:
    result = run([*lean, "--copy-to", path])
    assert (result.code, result.out, result.err.count(b"\n")) == (1, b"", 1)
    assert result.err.startswith(b"pyinit: cannot write '%s': %s" % (path.encode(), reason))


# -P


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pause(lean: list[str], number: int, namespaces: None) -> None:
    """-P reaps orphans, drops other signals, and ends by SIGTERM or SIGINT with exit code 0."""
    with start_pause([*NAMESPACE, *lean, "-P", "more"], "pid1") as running:
        pid = running.pid
        for other in (signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD, signal.SIGCONT, signal.SIGWINCH, signal.SIGPIPE):
            os.kill(pid, other)
        for _ in range(2):
            with enter(pid, python(ORPHANS, "150")) as other:
                assert other.stdout.read() == b"done\n"
            wait_until(lambda: not children_of(pid), "all orphans to be reaped")
        running.send(number)
        assert running.finish() == (0, b"", b"")


def test_pause_that_is_not_the_first_process(lean: list[str]) -> None:
    with start_pause([*lean, "-g", "-P"]) as running:
        running.send(signal.SIGINT)
        assert running.finish() == (0, b"", b"")


# What cannot run

REASONS = {"symbolic links": "error 40", "too long": "error 36", "Is a directory": "Permission denied",
           "Not a directory": "error 20", "interpreter": "No such file or directory", "format": "Exec format error"}


def test_commands_that_cannot_run(lean: list[str], tmp_path: Path) -> None:
    for case, (command, code, reason) in refusals(tmp_path).items():
        words = f"pyinit: cannot run '{command}': {REASONS.get(reason, reason)}"
        result = run([*lean, command])
        assert (result.code, result.out, result.err.count(b"\n")) == (code, b"", 1), (case, result)
        assert result.err.decode().startswith(words), (case, result)


def test_program_of_another_machine(lean: list[str], tmp_path: Path) -> None:
    """The kernel knows the program's format but not its machine: the lean init does not give it to the shell."""
    alien = tmp_path / "alien"
    alien.write_bytes(b"\x7fELF\2\1\1".ljust(16, b"\0") + b"\2\0\xed\xfe" + bytes(44))  # no number of elf(5)
    alien.chmod(0o755)
    message = b"pyinit: cannot run '%s': Exec format error\n" % bytes(alien)
    assert run([*lean, alien]) == (126, b"", message)
    assert run([*lean, "alien"], env={"PATH": str(tmp_path)}).code == 126


@pytest.mark.parametrize("content", [b"", b"\n", b"no", b"exit"])
def test_short_script(lean: list[str], tmp_path: Path, content: bytes) -> None:
    """A script may be shorter than the part of it that is read to recognise a program."""
    script = tmp_path / "script"
    script.write_bytes(content)
    script.chmod(0o755)
    assert run([*lean, script]).code == (127 if content == b"no" else 0)


def test_file_that_nobody_may_read(lean: list[str], needs_root: None) -> None:
    """A script that cannot be read is not given to the shell, which could not read it either."""
    folder = Path("/tmp") / f"pyinit-unreadable-{os.getpid()}"
    folder.mkdir(mode=0o755)
    try:
        (folder / "script").write_text("exit 0\n")
        (folder / "script").chmod(0o711)
        result = run([*AS_NOBODY, *lean, str(folder / "script")])
        assert (result.code, result.err.endswith(b"': Exec format error\n")) == (126, True), result
    finally:
        shutil.rmtree(folder)


@pytest.mark.parametrize("length", [4094, 4095, 4096, 5000, 60_000])
def test_folder_of_path_that_is_too_long(lean: list[str], tmp_path: Path, length: int) -> None:
    """The search passes over a folder that is too long, before or after any other."""
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\nexit 21\n")
    tool.chmod(0o755)
    long = "/" + "x" * (length - 1)
    for path in (f"{long}:{tmp_path}", f"/none:{long}:{long}:{tmp_path}", f"{tmp_path}:{long}"):
        code = 21 if length > 4095 or path.startswith(str(tmp_path)) else 126  # ENAMETOOLONG ends the search
        assert run([*lean, "tool"], env={"PATH": path}).code == code
    assert run([*lean, "tool"], env={"PATH": long}).code == (127 if length > 4095 else 126)


@pytest.mark.parametrize("length, code", [(255, 127), (256, 126), (5000, 126), (100_000, 126)])
def test_name_that_is_too_long(lean: list[str], length: int, code: int) -> None:
    """NAME_MAX: no file has such a name, execvp(3)."""
    result = run([*lean, "x" * length], env={"PATH": "/bin:/usr/bin"})
    reason = "error 36" if code == 126 else "No such file or directory"
    assert result == (code, b"", f"pyinit: cannot run '{'x' * length}': {reason}\n".encode())


@pytest.mark.parametrize("path, code", [("", 22), (":", 22), ("/none:", 22), (":/none", 22), ("/none", 127),
                                        (None, 127)])
def test_empty_folders_of_path(lean: list[str], tmp_path: Path, path: str, code: int) -> None:
    """Each empty entry is the current folder. Without PATH, two folders are searched, and not the current one."""
    (tmp_path / "tool").write_text("#!/bin/sh\nexit 22\n")
    (tmp_path / "tool").chmod(0o755)
    environment = {"PATHS": "x", "PAT": "y", "APATH": str(tmp_path)}
    if path is not None:
        environment["PATH"] = path
    assert run([*lean, "tool"], env=environment, cwd=tmp_path).code == code


def test_process_limit(lean: list[str], process_group_limit: Path) -> None:  # noqa: F811
    """If fork(2) fails with EAGAIN, which is not the command's fault, the exit code is 1."""
    (process_group_limit / "pids.max").write_text("1")
    assert run([*join(process_group_limit), *lean, "true"]) == (1, b"", b"pyinit: cannot run 'true': error 11\n")


def test_full_pipe_holds_no_signal_up(lean: list[str]) -> None:
    """A child that blocks as it writes that the command cannot run still dies of a forwarded signal."""
    reader, error = full_pipe()
    try:
        with Running([*lean, "/no/such/command"], stderr=error) as running:
            wait_until(lambda: children_of(running.pid) and is_blocked(children_of(running.pid)[0], signal.SIGPIPE),
                       "the child to write")
            running.send(signal.SIGTERM)
            running.process.stdin.close()
            assert running.process.wait(DEADLINE) == 143
    finally:
        os.close(reader)
        os.close(error)
