"""The exit code is the main child's, or 128 + N if signal N killed it, or says why it could not run."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.inits import Init
from support.processes import Result, python, run, shell
from support.sandbox import number_of, refuse_call
from support.selection import amount

BOTH_REAPERS = True
# Ends itself by a signal, without a core dump, under any inherited disposition.
END_BY_SIGNAL = """
import os, resource, signal, sys
number = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
if number not in (9, 19):
    signal.signal(number, signal.SIG_DFL)
os.kill(os.getpid(), number)
"""
# Signals whose default action does not end a process, signal(7).
HARMLESS = {signal.SIGCHLD, signal.SIGCONT, signal.SIGSTOP, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU,
            signal.SIGURG, signal.SIGWINCH, 32, 33}


def test_all_exit_codes(init: Init) -> None:
    """Both reapers read a status of the same form, so kernel reaping has every code in one mode only.

    A plain run tries a sample of the codes.
    """
    sparse = (init.reaper, init.mode) == ("kernel", "subreaper")
    sample = range(0, 256, 15 if sparse else amount(15, 1))
    codes = {code: init.run(shell(f"exit {code}")).code for code in sample}
    assert codes == {code: code for code in sample}


@pytest.mark.core
def test_exit_code_through_each_way_in(any_init: Init) -> None:
    assert any_init.run(shell("exit 77")) == (77, b"", b"")


def test_death_by_every_signal(init: Init) -> None:
    deadly = [number for number in range(1, 65) if number not in HARMLESS]
    sample = deadly[::amount(4, 1)]
    codes = {number: init.run(python(END_BY_SIGNAL, str(number))).code for number in sample}
    assert codes == {number: 128 + number for number in sample}


def test_remapped_exit_codes(any_init: Init) -> None:
    remap = ["-e", "143", "-e5", "--remap-exit", "6", "--remap-exit=7"]
    codes = {code: any_init.run(shell(f"exit {code}"), remap).code for code in (0, 5, 6, 7, 8, 143)}
    assert codes == {0: 0, 5: 0, 6: 0, 7: 0, 8: 8, 143: 0}


def test_remapped_death_by_signal(init: Init) -> None:
    assert init.run(shell("kill -TERM $$"), ["-e", "143"]).code == 0
    assert init.run(shell("kill -KILL $$"), ["-e", "143"]).code == 137


def test_zero_is_remapped_to_zero_only(init: Init) -> None:
    assert init.run(["true"], ["-e", "0"]).code == 0
    assert init.run(["false"], ["-e", "0"]).code == 1


def make_file(path: Path, content: bytes, mode: int = 0o755) -> str:
    """Write a file with a content and a mode; return its path."""
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def refusals(folder: Path) -> dict[str, tuple[str, int, str]]:
    """Return commands that cannot run, by case: the command, the exit code and a word of the reason."""
    (folder / "loop").symlink_to("loop")
    (folder / "broken").symlink_to("nowhere")
    (folder / "folder").mkdir()
    file = make_file(folder / "not-executable", b"#!/bin/sh\n", 0o644)
    return {
        "missing, by name": ("no-such-command-anywhere", 127, "No such file"),
        "missing, by path": (f"{folder}/missing", 127, "No such file"),
        "dangling link": (f"{folder}/broken", 127, "No such file"),
        "below a file": (f"{file}/x", 127, "Not a directory"),
        "empty": ("", 127, "No such file"),
        "missing interpreter": (make_file(folder / "lost", b"#!/no/such/interpreter\n"), 127, "interpreter"),
        "folder": (f"{folder}/folder", 126, "Is a directory"),
        "not executable": (file, 126, "Permission denied"),
        "link to itself": (f"{folder}/loop", 126, "symbolic links"),
        "name too long": ("/" + "x" * 300, 126, "too long"),
        "binary of another machine": (make_file(folder / "alien", b"\x7fELF\1\1\1" + bytes(99)), 126, "format"),
        "interpreter not executable": (make_file(folder / "nox", f"#!{file}\n".encode()), 126, "Permission denied"),
    }


@pytest.mark.core
def test_commands_that_cannot_run(any_init: Init, tmp_path: Path) -> None:
    for case, (command, code, reason) in refusals(tmp_path).items():
        result = any_init.run([command])
        message = result.err.decode()
        assert (result.code, result.out) == (code, b""), (case, message)
        assert message.startswith("pyinit: ") and message.count("\n") == 1, (case, message)
        assert command in message and reason in message, (case, message)


def test_script_without_an_interpreter_line(any_init: Init, tmp_path: Path) -> None:
    script = make_file(tmp_path / "script", b'printf "%s|" "$0" "$@"; exit 9\n')
    result = any_init.run([script, "a b", "c"])
    assert result == (9, f"{script}|a b|c|".encode(), b"")


def test_search_in_path(init: Init, tmp_path: Path) -> None:
    """As execvp(3), the search passes over folders without an executable file, and remembers EACCES."""
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    make_file(tmp_path / "first" / "tool", b"#!/bin/sh\nexit 1\n", 0o644)
    (tmp_path / "second" / "tool").mkdir()
    make_file(tmp_path / "third" / "tool", b"#!/bin/sh\nexit 33\n")
    folders = [f"{tmp_path}/{name}" for name in ("none", "first", "second", "third")]
    assert init.run(["tool"], env={"PATH": ":".join(folders)}).code == 33
    result = init.run(["tool"], env={"PATH": ":".join(folders[:2])})
    assert (result.code, result.err) == (126, b"pyinit: cannot run 'tool': Permission denied\n")
    assert init.run(["tool"], env={"PATH": folders[0]}).code == 127


def test_search_past_a_file(init: Init, tmp_path: Path) -> None:
    """An entry of PATH that is not a folder, ENOTDIR, does not end the search."""
    make_file(tmp_path / "file", b"")
    assert init.run(["true"], env={"PATH": f"{tmp_path}/file:/usr/bin:/bin"}) == (0, b"", b"")


def run_refused(launcher: str, error: int, command: str) -> Result:
    """Run a command whose execve(2) always fails with an error; pyinit itself is executed by execveat(2).

    The launcher must be a script, whose interpreter the kernel executes: a stub would call execve(2).
    """
    argv = [os.fsencode(argument) for argument in Init("subreaper", [launcher]).argv([command])]
    pointers = (ctypes.c_char_p * (len(argv) + 1))(*argv, None)
    environment = (ctypes.c_char_p * 2)(b"PATH=/bin:/usr/bin", None)
    execve, execveat = number_of("execve"), number_of("execveat")
    libc = ctypes.CDLL(None)

    def execute() -> None:
        refuse_call(execve, error)
        libc.syscall(execveat, -100, argv[0], pointers, environment, 0)  # AT_FDCWD

    return run(["/bin/false"], preexec_fn=execute)


@pytest.mark.parametrize("error, code", [
    (errno.EAGAIN, 1), (errno.ENOMEM, 1), (errno.ENFILE, 1), (errno.EMFILE, 1), (errno.E2BIG, 126), (errno.EPERM, 126),
    (errno.EACCES, 126), (errno.ESTALE, 126), (errno.ENOTDIR, 127)], ids=errno.errorcode.get)
def test_error_of_execve(script_launcher: str, error: int, code: int) -> None:
    """A temporary lack of resources says nothing about the command and has exit code 1."""
    message = f"pyinit: cannot run '/bin/true': {os.strerror(error)}\n"
    assert run_refused(script_launcher, error, "/bin/true") == (code, b"", message.encode())


NOT_HERE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE, errno.ENODEV, errno.ETIMEDOUT)


@pytest.mark.parametrize("error, code, reason", [
    *((error, 127, errno.ENOENT) for error in NOT_HERE),
    (errno.EACCES, 126, errno.EACCES), (errno.EPERM, 126, errno.EPERM), (errno.ENOMEM, 1, errno.ENOMEM)])
def test_error_of_execve_in_each_folder(script_launcher: str, error: int, code: int, reason: int) -> None:
    """As in execvp(3), an error that means only that a folder of PATH lacks the command continues the search; any other
    error ends it.
    """
    message = f"pyinit: cannot run 'true': {os.strerror(reason)}\n"
    assert run_refused(script_launcher, error, "true") == (code, b"", message.encode())


def test_search_in_the_current_folder(init: Init, tmp_path: Path) -> None:
    """An empty entry of PATH is the current folder, execvp(3)."""
    make_file(tmp_path / "tool", b"#!/bin/sh\nexit 34\n")
    assert init.run(["tool"], env={"PATH": "/nowhere::/bin"}, cwd=tmp_path).code == 34


@pytest.mark.parametrize("length", [4090, 4091, 4094, 4095, 4096, 4097, 10_000])
def test_search_past_a_folder_whose_path_is_too_long(init: Init, length: int) -> None:
    """As execvp(3), the search passes over a folder of PATH_MAX bytes or more. It ends at a shorter one if the path is
    too long with the command's name.
    """
    path = {"PATH": "/." * (length // 2) + "/" * (length % 2) + ":/usr/bin:/bin"}
    bare = subprocess.run(["/usr/bin/env", "true"], env=path, stderr=subprocess.DEVNULL)
    assert bare.returncode == (126 if 4091 <= length < 4096 else 0)
    assert init.run(["true"], env=path).code == bare.returncode


def test_search_without_path(any_init: Init) -> None:
    assert any_init.run(["true"], env={}) == (0, b"", b"")


def test_path_of_the_command_is_its_argv(init: Init) -> None:
    """argv[0] stays the given name if the command is found by PATH, execvp(3)."""
    result = init.run(["cat", "/proc/self/cmdline"], env={"PATH": "/nowhere:/usr/bin:/bin"})
    assert (result.code, result.out) == (0, b"cat\0/proc/self/cmdline\0")
