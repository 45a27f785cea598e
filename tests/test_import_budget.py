"""What pyinit imports at a start: each module more is time and memory, in each container."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from support import NAMESPACE, PYTHON, run

from pyinit.launcher.bundle import INIT_PATH, PAUSE_PATH

# Below `signal` and `os`; built into the interpreter, and so free, as is all that a bare interpreter has loaded.
BUILT_IN = {"_signal", "posix", "marshal", "gc"}
# prctl(2) is called: as a subreaper, or to find out whether pyinit is one.
FOR_PRCTL = {"_ctypes", "pyinit.linux.prctl", "pyinit.supervisor.adoption"}
# There is an option.
FOR_OPTIONS = {"pyinit.cli.getopt", "pyinit.cli.native_options"}
# More than the plain way is asked for, or told.
FOR_MORE = {"pyinit.supervisor.selection"}
# A message is shown, to where poll(2) may be needed.
FOR_MESSAGE = {"select", "pyinit.linux.output", "pyinit.messages", "pyinit.linux.signal_names"}
# Needed once the main child runs, if at all: a launcher reads it from its open bundle then.
FOR_LATER = {"pyinit.linux.descriptors", "pyinit.child.descendants", "pyinit.child.exec_errors",
             "pyinit.child.terminal"}
# The package as it is imported from its folder.
SHARED = {"pyinit", "pyinit.cli", "pyinit.linux", "pyinit.linux.files", "pyinit.linux.signals", "pyinit.log",
          "pyinit.main", "pyinit.options", "pyinit.supervisor", "pyinit.supervisor.reaper"}
PACKAGE = SHARED | {"pyinit.__main__", "pyinit.child", "pyinit.child.spawn", "pyinit.cli.native",
                    "pyinit.supervisor.loop"}
# What a start never needs.
DEAR = {"os", "site", "re", "enum", "signal", "ctypes", "typing", "argparse", "logging", "subprocess", "dataclasses",
        "functools", "collections", "threading", "tempfile", "pyinit.launcher.install", "pyinit.launcher.bundle"}


def imported(*command: object) -> set[str]:
    """The modules that a command line of the interpreter imports, as it says itself."""
    *front, python = [part for part in command[0]] if isinstance(command[0], list) else [command[0]]
    result = run([*front, python, "-X", "importtime", *command[1:]])
    assert result.code in (0, 1), result
    lines = [line.rpartition("|")[2].strip() for line in result.err.decode().splitlines() if "import time:" in line]
    assert "imported package" in lines
    return set(lines) - {"imported package"}


def interpreter(launcher: str) -> list[str]:
    """The interpreter and the flags of a launcher."""
    return Path(launcher).read_text().splitlines()[0][2:].split()


def imported_by(launcher: str, front: Sequence[str], *arguments: str) -> set[str]:
    """What a launcher imports that a bare interpreter with the same flags does not; its bundle is no import."""
    python, *flags = interpreter(launcher)
    bare = imported(python, *flags, "-c", "pass")
    return imported([*front, python], *flags, launcher, *arguments) - bare


@pytest.mark.core
def test_launcher_as_first_process(launcher: str, namespaces: bool) -> None:
    if not namespaces:
        pytest.skip("no PID namespaces can be made here")
    assert imported_by(launcher, NAMESPACE, "--", "true") <= BUILT_IN
    assert imported_by(launcher, NAMESPACE, "-g", "-e", "143", "--", "true") <= BUILT_IN | FOR_OPTIONS


@pytest.mark.core
def test_launcher_as_subreaper(launcher: str) -> None:
    assert imported_by(launcher, [], "-s", "--", "true") <= BUILT_IN | FOR_PRCTL | FOR_OPTIONS


def test_launcher_with_a_message(launcher: str) -> None:
    assert imported_by(launcher, [], "--", "true") <= BUILT_IN | FOR_PRCTL | FOR_MESSAGE
    assert imported_by(launcher, [], "-s", "-vvv", "--", "true") <= (BUILT_IN | FOR_PRCTL | FOR_MESSAGE
                                                                              | FOR_OPTIONS | FOR_MORE)


def test_imports_are_seen(launcher: str) -> None:
    """The tests above can fail: with messages there is more, and it is seen."""
    assert "pyinit.messages" in imported_by(launcher, [], "-s", "-vvv", "--", "true")


def test_pause(pause_launcher: str) -> None:
    """Its version is what ends by itself; it takes the same way up to there."""
    assert imported_by(pause_launcher, [], "-v") <= BUILT_IN | {"pyinit.cli.native_texts", "pyinit.linux.output"}


def test_modules_of_the_bundle() -> None:
    """What a launcher loads at each start without importing it, by this list and no other."""
    named = {name.replace("*", "native") for name in INIT_PATH}
    assert named == PACKAGE - {"pyinit.__main__"}
    assert {name.replace("*", "pause") for name in PAUSE_PATH} == SHARED | {
        "pyinit.cli.pause", "pyinit.linux.output", "pyinit.supervisor.pause"}


@pytest.mark.core
def test_module(namespaces: bool, tmp_path: Path) -> None:
    """`python3 -m pyinit` against `-m` of an empty package: the package itself, with what it may need later, as its
    files may be replaced while it runs, and what is built in.
    """
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "__init__.py").touch()
    (tmp_path / "empty" / "__main__.py").touch()
    bare = run([PYTHON, "-X", "importtime", "-m", "empty"], cwd=tmp_path).err.decode()
    known = {line.rpartition("|")[2].strip() for line in bare.splitlines()}
    more = imported(PYTHON, "-m", "pyinit", "-s", "--", "true") - known
    assert {"pyinit.supervisor.loop", "pyinit.main"} <= more
    assert more <= PACKAGE | BUILT_IN | FOR_PRCTL | FOR_OPTIONS | FOR_MESSAGE | FOR_LATER | {"__future__"}
    assert not more & DEAR
