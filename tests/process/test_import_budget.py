"""pyinit imports only the listed modules at its start: each module costs time and memory in every container."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from pyinit.launcher.bundle import INIT_PATH, PAUSE_PATH
from pyinit.launcher.script import FLAGS
from pyinit.linux.note import SIZE
from support.processes import run
from support.settings import NAMESPACE, PYTHON

# The modules below `signal` and `os`. They are built into the interpreter and cost nothing, like the modules that a
# bare interpreter has loaded.
BUILT_IN = {"_signal", "posix", "marshal", "gc"}
# To call prctl(2), and so to become a subreaper.
FOR_PRCTL = {"_ctypes", "pyinit.linux.prctl", "pyinit.supervisor.adoption"}
# To read options.
FOR_OPTIONS = {"pyinit.cli.getopt", "pyinit.cli.native_options"}
# For a run with more than the defaults, or with messages.
FOR_MORE = {"pyinit.supervisor.selection"}
# To write a message, which may need poll(2).
FOR_MESSAGE = {"select", "pyinit.linux.output", "pyinit.messages", "pyinit.linux.signal_names"}
# Needed only once the main child runs, if ever. A launcher reads these from its open bundle then.
FOR_LATER = {"pyinit.linux.descriptors", "pyinit.child.descendants", "pyinit.linux.procfs", "pyinit.child.exec_errors",
             "pyinit.child.terminal"}
# The package's own modules when it is imported from its folder.
SHARED = {"pyinit", "pyinit.cli", "pyinit.linux", "pyinit.linux.files", "pyinit.linux.signals", "pyinit.log",
          "pyinit.main", "pyinit.options", "pyinit.supervisor", "pyinit.supervisor.reaper"}
PACKAGE = SHARED | {"pyinit.__main__", "pyinit.child", "pyinit.child.spawn", "pyinit.cli.native",
                    "pyinit.supervisor.loop"}
# To read what a launcher's stub has noted.
FOR_NOTE = {"pyinit.linux.note"}
# Modules that a start never needs.
DEAR = {"os", "site", "re", "enum", "signal", "ctypes", "typing", "argparse", "logging", "subprocess", "dataclasses",
        "functools", "collections", "threading", "tempfile", "pyinit.launcher.install", "pyinit.launcher.bundle"}


def imported(*command: object) -> set[str]:
    """Return the modules that a command line of the interpreter imports, by -X importtime."""
    *front, python = [part for part in command[0]] if isinstance(command[0], list) else [command[0]]
    result = run([*front, python, "-X", "importtime", *command[1:]])
    assert result.code in (0, 1), result
    lines = [line.rpartition("|")[2].strip() for line in result.err.decode().splitlines() if "import time:" in line]
    assert "imported package" in lines
    return set(lines) - {"imported package"}


def imported_by(launcher: str, front: Sequence[str], *arguments: str) -> set[str]:
    """Return the modules that a launcher imports and a bare interpreter does not. Loading the bundle is no import."""
    bare = imported(PYTHON, *FLAGS.split(), "-c", "pass")
    note = f"{Path(launcher).name}:{'0' * SIZE}{launcher}"
    blocked = [*front, "/usr/bin/env", "--block-signal", PYTHON]  # as the stub does
    return imported(blocked, *FLAGS.split(), launcher + ".pyc", note, *arguments) - bare


@pytest.mark.core
def test_launcher_as_first_process(launcher: str, namespaces: None) -> None:
    assert imported_by(launcher, NAMESPACE, "--", "true") <= BUILT_IN
    assert imported_by(launcher, NAMESPACE, "-g", "-e", "143", "--", "true") <= BUILT_IN | FOR_OPTIONS


@pytest.mark.core
def test_launcher_as_subreaper(launcher: str) -> None:
    """Without a message, and with at most one option."""
    assert FOR_PRCTL <= imported_by(launcher, [], "--", "true") <= BUILT_IN | FOR_PRCTL
    assert imported_by(launcher, [], "-s", "--", "true") <= BUILT_IN | FOR_PRCTL | FOR_OPTIONS


def test_launcher_with_a_message(launcher: str) -> None:
    assert imported_by(launcher, [], "-vvv", "--", "true") <= (BUILT_IN | FOR_PRCTL | FOR_MESSAGE | FOR_OPTIONS
                                                               | FOR_MORE)


def test_imports_are_seen(launcher: str) -> None:
    """The tests above can fail: with messages, more modules are imported and seen."""
    assert "pyinit.messages" in imported_by(launcher, [], "-vvv", "--", "true")


def test_pause(pause_launcher: str) -> None:
    """The pause with -v ends by itself, and imports the same modules until then."""
    assert imported_by(pause_launcher, [], "-v") <= BUILT_IN | {"pyinit.cli.native_texts", "pyinit.linux.output"}


def test_modules_of_the_bundle() -> None:
    """A launcher loads exactly these modules at each start, without an import."""
    named = {name.replace("*", "native") for name in INIT_PATH}
    assert named == PACKAGE - {"pyinit.__main__"} | FOR_NOTE
    assert {name.replace("*", "pause") for name in PAUSE_PATH} == SHARED | FOR_NOTE | {
        "pyinit.cli.pause", "pyinit.linux.output", "pyinit.supervisor.pause"}


@pytest.mark.core
def test_module(tmp_path: Path) -> None:
    """Compared with `-m` of an empty package, `python3 -m pyinit` imports built-in modules and its package, with the
    modules that it may need later, as its files may be replaced while it runs.
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
