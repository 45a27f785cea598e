"""A launcher works if its files are removed or replaced while it runs or starts, or if any call of the installer fails.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from stat import S_ISDIR

import pytest

from pyinit import destination
from pyinit.destination import ToolError
from pyinit.launcher import install
from pyinit.main import PERSONALITIES
from support.inits import Init
from support.machine import find_pythons, version_of
from support.orphans import WORKER, use
from support.proc import open_files, waits_for_signals, waits_in
from support.processes import Running, python, run, shell, source
from support.selection import amount
from support.settings import DEADLINE, NAMESPACE, PYTHON, ROOT
from support.terminal import Terminal
from support.waiting import wait_until

VERSION = version_of(PYTHON) or ""
OTHER_PYTHONS = [path for version, path in find_pythons().items() if version.split(".")[:2] != VERSION.split(".")[:2]]

REINSTALL = source("reinstall")

# Continues a start whose script was read earlier: argv[1] is a copy of the script, the rest is the command line.
GO_ON = """
import sys
script, sys.argv = sys.argv[1], sys.argv[2:]
exec(compile(open(script, "rb").read(), sys.argv[0], "exec"), {"__name__": "__main__", "__file__": sys.argv[0]})
"""

LOAD = source("loads_later")


@pytest.fixture(scope="session")
def another_package(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Make a folder with another version of the package, in which every module is longer."""
    folder = tmp_path_factory.mktemp("another")
    shutil.copytree(ROOT / "pyinit", folder / "pyinit", ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder / "pyinit").rglob("*.py"):
        path.write_text(path.read_text() + "\nOTHER = 'another version'\n")
    return str(folder)


def install_launcher(path: object, package: object = ROOT, interpreter: str = PYTHON, *options: str) -> str:
    """Install a launcher by the command line of a package, the folder that contains it; return the launcher's path."""
    done = subprocess.run([PYTHON, "-m", "pyinit.launcher", "--python", interpreter, *options, str(path)], cwd=package,
                          capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    return str(path)


def check(launcher: object) -> None:
    """Check that a launcher runs a command."""
    result = run([launcher, "-s", "--", *shell("exit 41")])
    assert result == (41, b"", b""), result.err


# While it runs ------------------------------------------------------------------------------------------------------

class Victim:
    """A way to start pyinit, and to replace its files while it runs."""

    def __init__(self, how: str, another_package: str) -> None:
        self.how = how
        self.another_package = another_package

    def install(self, path: Path) -> str:
        """Install a program at `path` that starts pyinit; the path's name selects the personality. Return the path."""
        if self.how != "module gone":
            return install_launcher(path)
        package = path.parent / "package"
        shutil.copytree(ROOT / "pyinit", package / "pyinit", ignore=shutil.ignore_patterns("__pycache__"))
        name = path.name if path.name in PERSONALITIES else "pyinit"
        path.write_text(f'#!/bin/sh\ncd {package} && exec {PYTHON} -m pyinit --as {name} "$@"\n')
        path.chmod(0o755)
        return str(path)

    def replace(self, launcher: str) -> None:
        """Remove or replace the files."""
        if self.how == "module gone":
            shutil.rmtree(Path(launcher).parent / "package")
        elif self.how == "another version":
            install_launcher(launcher, self.another_package)
        else:
            for path in (launcher, launcher + ".pyc"):
                os.unlink(path)
                if self.how == "garbage":
                    Path(path).write_bytes(b"something else")


@pytest.fixture(params=["gone", "another version", "garbage", "module gone"])
def victim(request: pytest.FixtureRequest, another_package: str) -> Victim:
    """Return each way to replace the files."""
    return Victim(request.param, another_package)


# Each way to replace the launcher is combined with each set of later modules, as each pair fails in another place. The
# mode decides only what is loaded before the main child starts.
@pytest.mark.usual("mode")
@pytest.mark.parametrize("options", [[], ["-w"], ["-w", "-vvv"]], ids=["quiet", "warnings", "verbose"])
def test_messages_are_said(mode: str, tmp_path: Path, victim: Victim, options: list[str]) -> None:
    launcher = victim.install(tmp_path / "launcher")
    with Init(mode, [launcher]).start(python(WORKER), options) as running:
        running.expect("ready")
        victim.replace(launcher)
        use(running)
        said = running.read_error().count(b"reaped zombie process with PID")
        assert said == (10 if options else 0), running.read_error()


def test_terminal_is_taken_back(tmp_path: Path, victim: Victim) -> None:
    """A script can still read from its terminal after pyinit has ended."""
    launcher = victim.install(tmp_path / "launcher")
    script = f"{launcher} -s -- sh -c 'echo main; read a'; read b; echo \"b is $b.\""
    with Terminal() as terminal, terminal.start(shell(script)):
        terminal.read_until(b"main\r\n")
        victim.replace(launcher)
        terminal.type(b"x\n")
        terminal.type(b"y\n")
        assert b"b is y." in terminal.read_until(b".\r\n")


def test_rest_of_the_session_is_asked_to_end(tmp_path: Path, victim: Victim) -> None:
    """dumb-init sends its last SIGTERM."""
    launcher = victim.install(tmp_path / "dumb-init")
    rest = "trap 'echo asked; exit' TERM; echo ready; while :; do sleep 0.05; done"
    with Running([launcher, *shell(f"({rest}) & read a; exit 3")]) as running:
        running.expect("ready")
        victim.replace(launcher)
        running.write(b"x\n")
        running.expect("asked")
        assert running.process.wait(DEADLINE) == 3


# Makes its parent its tracer, ptrace(2) PTRACE_TRACEME, and executes a program, at which the kernel stops it.
TRACED = """
import ctypes, os
os.write(1, b"ready\\n")
os.read(0, 1)
ctypes.CDLL(None).ptrace(0, 0, 0, 0)
os.execv("/bin/sh", ["sh", "-c", "exit 7"])
"""


@pytest.mark.parametrize("name", ["launcher", "catatonit"])
def test_traced_child_goes_on(name: str, mode: str, tmp_path: Path, victim: Victim) -> None:
    """pyinit continues a traced child, also after it has closed all descriptors that it does not need."""
    launcher = victim.install(tmp_path / name)
    read, write = os.pipe()
    with open(read, "rb"), open(write, "wb"):
        argv = [*(NAMESPACE if mode == "pid1" else []), launcher, "--", *python(TRACED)]
        with Running(argv, mode, pass_fds=[read]) as running:
            running.expect("ready")
            if name == "catatonit":
                kept = 3 if victim.how == "module gone" else 4
                wait_until(lambda: len(os.listdir(f"/proc/{running.pid}/fd")) == kept, "the descriptors to be closed")
            victim.replace(launcher)
            running.write(b"x")
            assert running.finish().code == 7


@pytest.mark.parametrize("closed", [[], [0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2]], ids=str)
def test_bundle_stays_open(init: Init, launcher: str, closed: list[int]) -> None:
    """The bundle's descriptor is above stdio, which stays closed, and the main child does not inherit it."""
    script = f"exec \"$@\" {' '.join(f'{number}>&-' for number in closed)}"
    with init.start(["sleep", "1000"], inside=shell(script)) as running:
        wait_until(lambda: "nanosleep" in waits_in(running.main_child), "the main child to have its own files")
        wait_until(lambda: waits_for_signals(running.pid), "pyinit to have closed what it started the main child with")
        bundles = [number for number, path in open_files(running.pid).items() if path == launcher + ".pyc"]
        assert len(bundles) == 1 and bundles[0] > 2
        assert not [number for number in closed if number in open_files(running.pid)]
        assert launcher + ".pyc" not in open_files(running.main_child).values()
        os.kill(running.main_child, signal.SIGTERM)
        assert running.finish().code == 143


def test_overwritten_in_place(tmp_path: Path, another_package: str) -> None:
    """If cp(1) overwrites the bundle, no module of another bundle is loaded. The same content is no other bundle."""
    launcher = install_launcher(tmp_path / "launcher")
    other = install_launcher(tmp_path / "other", another_package)
    result = run([PYTHON, "-ISXutf8", "-c", LOAD, launcher + ".pyc", other + ".pyc"])
    assert result.out.decode().splitlines() == ["pyinit.supervisor.stats the bundle has been overwritten"] * 3 + [
        "pyinit.supervisor.stats loaded"], result


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


# While it starts ----------------------------------------------------------------------------------------------------

def go_on(program: Path, launcher: str) -> None:
    """Check that a start runs a command if its stub or script, of which `program` is a copy, was read some time ago."""
    content = program.read_bytes()
    front = [program]
    if content.startswith(b"#!"):
        interpreter = os.fsdecode(content.split(maxsplit=1)[0][2:])
        front = [interpreter, "-ISXutf8", "-c", GO_ON, program, launcher]
    assert run([*front, "-s", "--", *shell("exit 42")]) == (42, b"", b"")


def test_start_across_reinstallations(tmp_path: Path, another_package: str) -> None:
    """Each earlier stub or script finds a bundle, also after the launcher has been replaced several times."""
    launcher = install_launcher(tmp_path / "launcher")
    installations = [(ROOT, PYTHON, "--script"), (another_package, PYTHON),
                     *((package, path) for path in OTHER_PYTHONS[:2] for package in (ROOT, another_package)),
                     (ROOT, PYTHON), (another_package, PYTHON, "--script")]
    programs = []
    for number, installation in enumerate(installations):
        programs.append(Path(shutil.copy(launcher, tmp_path / f"program{number}")))
        install_launcher(launcher, *installation)
        for program in programs:
            go_on(program, launcher)
        check(launcher)


def test_reinstallation_for_the_same_python_leaves_two_files(tmp_path: Path, another_package: str) -> None:
    for package in (ROOT, another_package, ROOT):
        install_launcher(tmp_path / "launcher", package)
        assert sorted(os.listdir(tmp_path)) == ["launcher", "launcher.pyc"]


@pytest.mark.skipif(not OTHER_PYTHONS, reason="no second version of Python on this machine")
def test_reinstallation_for_another_python(tmp_path: Path) -> None:
    """A copy of the two files works. The installer keeps a bundle for each interpreter, for starts under way."""
    for interpreter in (PYTHON, OTHER_PYTHONS[0], OTHER_PYTHONS[0], PYTHON):
        launcher = install_launcher(tmp_path / "launcher", interpreter=interpreter)
        (tmp_path / "copy").mkdir()
        for suffix in ("", ".pyc"):
            shutil.copy(launcher + suffix, tmp_path / "copy")
        (tmp_path / "away").mkdir()
        for path in tmp_path.glob("launcher*"):
            path.rename(tmp_path / "away" / path.name)
        check(tmp_path / "copy/launcher")
        for path in (tmp_path / "away").iterdir():
            path.rename(tmp_path / path.name)
        shutil.rmtree(tmp_path / "copy")
        (tmp_path / "away").rmdir()
    assert len(os.listdir(tmp_path)) == 4


@pytest.fixture
def reinstalling(tmp_path: Path) -> Iterator[tuple[str, Running]]:
    """Run a process that replaces a launcher all the time, also by one for another interpreter; return both."""
    launcher = install_launcher(tmp_path / "launcher")
    argv = [PYTHON, "-c", REINSTALL, str(ROOT), launcher, PYTHON, *OTHER_PYTHONS[:1]]
    with Running(argv) as running:
        yield launcher, running


def count(running: Running) -> int:
    """Return the number of reinstallations until now."""
    running.write(b"x")
    return int(running.read_line())


def test_starts_during_reinstallations(reinstalling: tuple[str, Running]) -> None:
    """A launcher starts during 100 reinstallations, 10 in a plain run, several of which happen during each start. It
    also starts while a reinstallation is stopped at any point.
    """
    launcher, running = reinstalling
    starts, first = 0, count(running)
    while starts < amount(20, 150) or count(running) < first + amount(10, 100):
        check(launcher)
        starts += 1
        if starts % 10 == 0:
            os.kill(running.pid, signal.SIGSTOP)
            check(launcher)
            os.kill(running.pid, signal.SIGCONT)


# While a write fails ------------------------------------------------------------------------------------------------

class FailingCalls:
    """Makes one of the calls of write_file() fail: the call with this number, with this errno."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int, error: int) -> None:
        self.left, self.error = number, error
        monkeypatch.setattr(tempfile, "mkstemp", self.wrap(tempfile.mkstemp))
        for name in ("fchmod", "replace"):
            monkeypatch.setattr(os, name, self.wrap(getattr(os, name)))
        fail, is_folder = self.wrap(os.fsync), lambda number: S_ISDIR(os.fstat(number).st_mode)
        # A folder is only synced if possible.
        monkeypatch.setattr(os, "fsync", lambda number: None if is_folder(number) else fail(number))
        for module in (destination, install):
            monkeypatch.setattr(module, "open", self.open, raising=False)

    def fail(self) -> None:
        self.left -= 1
        if self.left == -1:
            raise OSError(self.error, os.strerror(self.error))

    def wrap(self, call: Callable) -> Callable:
        def wrapped(*arguments, **more):
            self.fail()
            return call(*arguments, **more)
        return wrapped

    def open(self, file, mode: str):
        """Open a file. If its write is the call that fails, it writes half of the content before."""
        stream = open(file, mode)
        write = stream.write

        def write_half(content: bytes) -> None:
            if self.left == 0:
                write(content[:len(content) // 2])
            self.fail()
            write(content)

        if "w" in mode:
            return Proxy(stream, write_half)
        self.fail()
        return stream


class Proxy:
    """A file with another write()."""

    def __init__(self, file, write: Callable) -> None:
        self.file, self.write, self.flush = file, write, file.flush

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *_) -> None:
        self.file.close()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EACCES], ids=errno.errorcode.get)
@pytest.mark.parametrize("interpreter", [
    pytest.param(PYTHON, id=version_of(PYTHON)),
    # Twenty-one calls, each with two installations. Ten of the calls are also made for the same interpreter.
    *(pytest.param(path, id=version_of(path), marks=pytest.mark.everything("under another Python"))
      for path in OTHER_PYTHONS[:1])])
def test_each_call_of_the_installer_failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, interpreter: str,
                                            error: int) -> None:
    """After each failure the old or the new launcher works, as do a start under way and the next installation."""
    for name in ("inspect_interpreter", "compile_package"):  # once, and before anything fails
        monkeypatch.setattr(install, name, functools.lru_cache(getattr(install, name)))
    for path in (PYTHON, interpreter):
        install.install(str(tmp_path / "launcher"), path)
    launcher, script = str(tmp_path / "launcher"), tmp_path / "script"
    failed = 0
    while True:
        for path in tmp_path.iterdir():
            path.unlink()
        install.install(launcher, PYTHON, script=True)
        shutil.copy(launcher, script)
        with monkeypatch.context() as patch:
            calls = FailingCalls(patch, failed, error)
            try:
                install.install(launcher, interpreter)
            except ToolError as refusal:
                assert os.strerror(error) in str(refusal)
            else:
                break
        check(launcher)
        go_on(script, launcher)
        assert not list(tmp_path.glob(".pyinit.*"))
        install.install(launcher, interpreter)
        check(launcher)
        go_on(script, launcher)
        failed += 1
    assert calls.left >= 0 and failed == (11 if interpreter == PYTHON else 21)
