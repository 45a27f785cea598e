"""pyinit refuses bad input with one clear line and exit code 1, never with a traceback, and starts nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from support.command_lines import REFUSED, REFUSED_ENVIRONMENTS
from support.inits import Init
from support.processes import run
from support.settings import PYTHON, ROOT


def refuse(init: Init, arguments: list[str], **popen) -> list[str]:
    """Run pyinit with a command line that it must refuse; return the lines of its message, first the reason."""
    result = run([*init.prefix(), *init.program, *map(encode, arguments)], **popen)
    message = result.err.decode("utf-8", "surrogateescape")
    assert (result.code, result.out) == (1, b""), (arguments, message)
    lines = message.splitlines()
    assert lines[0].startswith("pyinit: ") and lines[1].startswith("Usage: pyinit "), (arguments, message)
    assert len(lines) == 4
    return lines


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# pyinit reads its command line before it becomes a subreaper.
@pytest.mark.usual("mode")
def test_command_lines_that_are_refused(init: Init, tmp_path: Path) -> None:
    for arguments, word in REFUSED:
        started = tmp_path / "started"
        lines = refuse(init, [str(argument).replace("command", f"touch {started}") for argument in arguments])
        assert word == "command" or word in lines[0], (arguments, lines)
        assert not started.exists()


def test_environments_that_are_refused(any_init: Init) -> None:
    for environment, name in REFUSED_ENVIRONMENTS:
        lines = refuse(any_init, ["true"], env={key: encode(value) for key, value in environment.items()})
        assert name in lines[0]


def test_no_arguments_at_all(any_init: Init) -> None:
    assert "no command" in refuse(any_init, [])[0]


def test_any_byte_is_refused_in_one_line(init: Init) -> None:
    """The message names the option as it was given, also if its bytes are not text."""
    for byte in (b"\xff", b"\x80", b"\x1b", b"\n", b" ", b"'", b"%"):
        result = run([*init.prefix(), *init.program, b"--x" + byte, b"true"])
        assert result.code == 1 and result.err.startswith(b"pyinit: "), result
        assert b"--x" in result.err.splitlines()[0]


@pytest.mark.core
@pytest.mark.parametrize("option, words", [
    ("--help", ["Usage: pyinit", "--subreaper", "--remap-exit", "TINI_VERBOSITY"]), ("-h", ["Usage: pyinit"]),
    ("--version", ["pyinit 0."]), ("-l", ["MIT License", "Copyright"]), ("--license", ["MIT License"])])
def test_texts(any_init: Init, option: str, words: list[str]) -> None:
    result = run([*any_init.prefix(), *any_init.program, option])
    assert (result.code, result.err) == (0, b"")
    for word in words:
        assert word in result.out.decode()


def test_texts_fit_and_are_true(launcher: str) -> None:
    text = run([launcher, "--help"]).out.decode()
    assert max(map(len, text.splitlines())) <= 80
    assert run([launcher, "--license"]).out.decode().split() == (ROOT / "LICENSE").read_text().split()


def test_text_to_a_slow_reader(launcher: str) -> None:
    """A reader that reads one byte at a time from a pipe gets the whole text."""
    whole = run([launcher, "--license"]).out
    with subprocess.Popen([launcher, "--license"], stdout=subprocess.PIPE, bufsize=0) as process:
        got = b"".join(iter(lambda: os.read(process.stdout.fileno(), 1), b""))
    assert (got, process.returncode) == (whole, 0)


def test_stdin_that_is_a_directory(any_init: Init) -> None:
    """CPython ends before the first statement. docs/reference.md quotes its message among the limits."""
    folder = os.open("/", os.O_RDONLY | os.O_CLOEXEC)
    try:
        done = subprocess.run([*any_init.prefix(), *any_init.program, "--", "true"], stdin=folder, capture_output=True,
                              cwd=ROOT)
    finally:
        os.close(folder)
    message = done.stderr.decode().partition("\n")[0]
    assert done.returncode == 1 and "is a directory" in message
    assert message in " ".join((ROOT / "docs" / "reference.md").read_text().split()), message


def test_package_is_not_run_for_other_names(tmp_path: Path) -> None:
    """A link to the launcher whose name is no personality's runs as pyinit."""
    launcher = tmp_path / "pyinit"
    subprocess.run([PYTHON, "-m", "pyinit.launcher", launcher], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (tmp_path / "other").symlink_to(launcher)
    assert run([tmp_path / "other", "--version"]).out.startswith(b"pyinit ")
