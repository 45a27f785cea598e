"""The launcher's files are removed or replaced while it runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support import (DEADLINE, NAMESPACE, PYTHON, ROOT, WORKER, Init, Running, Terminal, open_files, python, run, shell,
                     use, wait_until)

# Loads a bundle, argv[1], as a launcher does, and has the content of argv[2] written over it in place.
LOAD = """
import marshal, posix, sys
FILE = posix.open(sys.argv[1], posix.O_CLOEXEC)
own = posix.pread(FILE, 1 << 20, 0)
code = marshal.loads(own[16:])
exec(code, {"FILE": FILE, "SIZE": 16 + len(marshal.dumps(code))})
import pyinit.finish
def load(name):
    try:
        __import__(name)
        print(name, "loaded")
    except ImportError as error:
        print(name, error)
for content in (open(sys.argv[2], "rb").read(), b"", own[:30000], own):
    with open(sys.argv[1], "wb") as file:
        file.write(content)
    load("pyinit.stats")
"""


@pytest.fixture(scope="session")
def another_package(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with another version of the package, all of whose modules are longer."""
    folder = tmp_path_factory.mktemp("another")
    shutil.copytree(ROOT / "pyinit", folder / "pyinit", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / "pyinit").rglob("*.py"):
        path.write_text(path.read_text() + "\nOTHER = 'another version'\n")
    return str(folder)


def install_launcher(path: object, package: object = ROOT, interpreter: str = PYTHON) -> str:
    """Install a launcher by the command line of that package; return its path."""
    done = subprocess.run([PYTHON, "-m", "pyinit.install", "--python", interpreter, str(path)], cwd=package,
                          capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    return str(path)


# While it runs ------------------------------------------------------------------------------------------------------

@pytest.fixture(params=["gone", "another version", "garbage"])
def replace(request: pytest.FixtureRequest, another_package: str) -> Callable[[str], None]:
    """Takes the files of a launcher away, or puts others in their place."""
    def act(launcher: str) -> None:
        if request.param == "another version":
            install_launcher(launcher, another_package)
            return
        for path in (launcher, launcher + ".pyc"):
            os.unlink(path)
            if request.param == "garbage":
                Path(path).write_bytes(b"something else")
    return act


@pytest.mark.parametrize("options", [[], ["-w"], ["-w", "-vvv"]], ids=["quiet", "warnings", "verbose"])
def test_messages_are_said(mode: str, tmp_path: Path, replace: Callable, options: list[str]) -> None:
    launcher = install_launcher(tmp_path / "launcher")
    with Init(mode, [launcher]).start(python(WORKER), options) as running:
        running.expect("ready")
        replace(launcher)
        use(running)
        said = running.read_error().count(b"reaped zombie process with PID")
        assert said == (10 if options else 0), running.read_error()


def test_terminal_is_taken_back(tmp_path: Path, replace: Callable) -> None:
    """A script goes on reading from its terminal after pyinit."""
    launcher = install_launcher(tmp_path / "launcher")
    script = f"{launcher} -s -- sh -c 'echo main; read a'; read b; echo \"b is $b.\""
    with Terminal() as terminal, terminal.start(shell(script)):
        terminal.read_until(b"main\r\n")
        replace(launcher)
        terminal.type(b"x\n")
        terminal.type(b"y\n")
        assert b"b is y." in terminal.read_until(b".\r\n")


def test_rest_of_the_session_is_asked_to_end(tmp_path: Path, replace: Callable) -> None:
    """dumb-init's last SIGTERM."""
    launcher = install_launcher(tmp_path / "dumb-init")
    rest = "trap 'echo asked; exit' TERM; echo ready; while :; do sleep 0.05; done"
    with Running([launcher, *shell(f"({rest}) & read a; exit 3")]) as running:
        running.expect("ready")
        replace(launcher)
        running.write(b"x\n")
        running.expect("asked")
        assert running.process.wait(DEADLINE) == 3


# Makes its parent its tracer, ptrace(2) PTRACE_TRACEME, and executes a program, upon which the kernel stops it.
TRACED = """
import ctypes, os
os.write(1, b"ready\\n")
os.read(0, 1)
ctypes.CDLL(None).ptrace(0, 0, 0, 0)
os.execv("/bin/sh", ["sh", "-c", "exit 7"])
"""


@pytest.mark.parametrize("name", ["launcher", "catatonit"])
def test_traced_child_goes_on(name: str, mode: str, tmp_path: Path, replace: Callable) -> None:
    """Also where pyinit has closed all descriptors that it does not need."""
    launcher = install_launcher(tmp_path / name)
    read, write = os.pipe()
    with open(read, "rb"), open(write, "wb"):
        argv = [*(NAMESPACE if mode == "pid1" else []), launcher, "--", *python(TRACED)]
        with Running(argv, mode, pass_fds=[read]) as running:
            running.expect("ready")
            if name == "catatonit":
                wait_until(lambda: len(os.listdir(f"/proc/{running.pid}/fd")) == 4, "the descriptors to be closed")
            replace(launcher)
            running.write(b"x")
            assert running.finish().code == 7


@pytest.mark.parametrize("closed", [[], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]], ids=str)
def test_bundle_stays_open(init: Init, launcher: str, closed: list[int]) -> None:
    """Above stdio, which stays closed, and not in the main child."""
    script = f"exec \"$@\" {' '.join(f'{number}>&-' for number in closed)}"
    with init.start(["sleep", "1000"], inside=shell(script)) as running:
        wait_until(lambda: "sleep" in os.readlink(f"/proc/{running.main_child}/exe")
                   or "coreutils" in os.readlink(f"/proc/{running.main_child}/exe"), "the main child's program")
        bundles = [number for number, path in open_files(running.pid).items() if path == launcher + ".pyc"]
        assert len(bundles) == 1 and bundles[0] > 2
        assert not [number for number in closed if number in open_files(running.pid)]
        assert launcher + ".pyc" not in open_files(running.main_child).values()
        os.kill(running.main_child, signal.SIGTERM)
        assert running.finish().code == 143


def test_overwritten_in_place(tmp_path: Path, another_package: str) -> None:
    """As cp(1) does: no module is mixed with those of another bundle; the same content once more is none."""
    launcher = install_launcher(tmp_path / "launcher")
    other = install_launcher(tmp_path / "other", another_package)
    result = run([PYTHON, "-ISXutf8", "-c", LOAD, launcher + ".pyc", other + ".pyc"])
    assert result.out.decode().splitlines() == ["pyinit.stats the bundle has been overwritten"] * 3 + [
        "pyinit.stats loaded"], result


@pytest.mark.parametrize("options", [[], ["-w"]], ids=["quiet", "warnings"])
def test_goes_on_when_overwritten_in_place(mode: str, tmp_path: Path, another_package: str,
                                           options: list[str]) -> None:
    launcher = install_launcher(tmp_path / "launcher")
    other = install_launcher(tmp_path / "other", another_package)
    with Init(mode, [launcher]).start(python(WORKER), options) as running:
        running.expect("ready")
        for suffix in ("", ".pyc"):
            shutil.copyfile(other + suffix, launcher + suffix)
        use(running)
