"""A launcher's stub notes the environment and signal state, which the main child gets unchanged, and finds its bundle
and its interpreter.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest

from pyinit.lean import MACHINES
from pyinit.launcher import install
from pyinit.launcher.stub import find_versioned
from support.inits import Init
from support.machine import emulate, find_pythons, version_of
from support.processes import Result, python, run, shell, source
from support.sandbox import number_of
from support.settings import MOUNTS, PYTHON

pytestmark = pytest.mark.skipif(os.uname().machine not in MACHINES, reason="no stub for this machine")

EXACT_ENVIRONMENT, WITH_SIGNALS = source("exact_environment"), source("with_signals")
OTHER_PYTHONS = [path for path in find_pythons().values()
                 if (version_of(path) or "").split(".")[:2] != (version_of(PYTHON) or "").split(".")[:2]]
EVERY = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
ENV, CAT = shutil.which("env") or "/usr/bin/env", shutil.which("cat") or "/bin/cat"


# The environment ----------------------------------------------------------------------------------------------------

def read_environment(init: Init, how: str, entries: Sequence[bytes]) -> Result:
    """Run env(1), a C program, under pyinit with exactly these entries in the environment.

    how: one of PLACES, see exact_environment.py.
    """
    inside = [*MOUNTS, *python(EXACT_ENVIRONMENT, how, ",".join(entry.hex() for entry in entries))]
    return init.run([ENV, "-0"], inside=inside)


PLACES = pytest.mark.parametrize("how", ["as it is", "empty /proc", "read-only root"])


@pytest.mark.core
@pytest.mark.usefixtures("mounts")
@PLACES
@pytest.mark.parametrize("entries", [
    [],
    [b"LANG=C", b"A=1"],
    [b"LC_ALL=POSIX"],
    [b"LC_CTYPE=C", b"B=2"],
    [b"A=1", b"LC_CTYPE=", b"B=2"],
    [b"LC_CTYPE=yy_YY", b"LANG=xx_XX"],
    [b"LC_CTYPE=C.UTF-8", b"LANG=C"],
    [b"LC_CTYPE=C", b"LC_CTYPE=POSIX", b"LC_CTYPE", b"A=1", b"A=2"],
    [b"LC_CTYPE", b"LC_CTYPEX=C", b"LANG=C", b"NO_EQUALS", b""],
    [b"LC_CTYPE=" + b"x" * 20_000, b"__PYVENV_LAUNCHER__=" + b"y" * 20_000],
    [b"A=1", b"__PYVENV_LAUNCHER__=/no/such", b"LANG=C", b"B=2"],
    [b"__PYVENV_LAUNCHER__=", b"LC_CTYPE=C", b"B="],
    [b"LC_CTYPE=\xff\xfe", b"\xff=\x80", b"A=1", b"__PYVENV_LAUNCHER__=\xc3"],
    [b"__PYVENV_LAUNCHER_=1", b"__PYVENV_LAUNCHER__X=1", b"__PYVENV_LAUNCHER__", b"LANG=C.UTF-8"],
], ids=lambda entries: b",".join(entries)[:40].decode("ascii", "replace"))
def test_environment_is_exact(init: Init, how: str, entries: list[bytes]) -> None:
    """The main child gets each entry, in the same order, without a message."""
    assert read_environment(init, how, entries) == (0, b"".join(entry + b"\0" for entry in entries), b"")


@pytest.mark.core
@pytest.mark.usefixtures("mounts")
@PLACES
@pytest.mark.parametrize("entries", [
    [b"A=1", b"__PYVENV_LAUNCHER__=x", b"B=2", b"NO_EQUALS"],
    [b"A=1", b"__PYVENV_LAUNCHER__=x", b"B=2", b"A=3", b"LC_CTYPE=C"],
    [b"__PYVENV_LAUNCHER__=x", b"__PYVENV_LAUNCHER__=y", b"LANG=C"],
], ids=repr)
def test_removed_variable_in_an_odd_environment(init: Init, how: str, entries: list[bytes]) -> None:
    """A variable that CPython removes is kept. If its place cannot be kept, the other entries still keep theirs."""
    result = read_environment(init, how, entries)
    told = result.out.split(b"\0")[:-1]
    assert (result.code, result.err, told.count(b"__PYVENV_LAUNCHER__=x")) == (0, b"", 1)
    assert [entry for entry in told if not entry.startswith(b"__PYVENV")] == [
        entry for entry in entries if not entry.startswith(b"__PYVENV")]


# The signal state ---------------------------------------------------------------------------------------------------

def signal_state(front: Sequence, ignored: Sequence[int], blocked: Sequence[int], *program: str) -> list[bytes]:
    """Return the lines about signals in the status of cat(1), a C program. `program` executes cat, if given."""
    state = [" ".join(str(int(number)) for number in numbers) for numbers in (ignored, blocked)]
    result = run([*front, *python(WITH_SIGNALS, *state), *program, CAT, "/proc/self/status"])
    assert result.code == 0, result
    return [line for line in result.out.splitlines() if line.startswith((b"SigBlk", b"SigIgn", b"SigCgt"))]


def check_signal_state(init: Init, ignored: Sequence[int], blocked: Sequence[int]) -> None:
    """Check that the main child starts with the signal state with which pyinit was started."""
    bare = signal_state(init.prefix(), ignored, blocked)
    assert bare[1] == b"SigIgn:\t%016x" % sum(1 << number - 1 for number in ignored)
    own = init.argv([])[len(init.prefix()):]
    assert signal_state(init.prefix(), ignored, blocked, *own) == bare


@pytest.mark.core
@pytest.mark.usual("mode")  # what the stub notes does not depend on the mode
@pytest.mark.parametrize("number", EVERY, ids=int)
def test_ignored_signal_arrives_ignored(init: Init, number: int) -> None:
    """Each signal alone stays ignored, also SIGPIPE and SIGXFSZ, which CPython ignores for itself."""
    check_signal_state(init, [number], [])


@pytest.mark.core
@pytest.mark.parametrize("blocked", [[], [signal.SIGTERM], EVERY], ids=len)
@pytest.mark.parametrize("ignored", [[], [signal.SIGPIPE, signal.SIGINT], EVERY], ids=len)
def test_signal_state_arrives(init: Init, ignored: list[int], blocked: list[int]) -> None:
    check_signal_state(init, ignored, blocked)


def test_reset_of_the_signal_state(launcher: str) -> None:
    """As dumb-init, pyinit starts the main child with no signal ignored or blocked."""
    state = signal_state([], EVERY, EVERY, launcher, "--as", "dumb-init")
    assert [int(line.split()[1], 16) for line in state[:2]] == [0, 0]


# Names --------------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["pyinit", "tini", "any-other-name-of-a-launcher"])
def test_name_of_the_process(name: str, mode: str, launcher: str, tmp_path: Path) -> None:
    """The kernel names a script's process after the script, proc(5). The stub does the same with the path by which it
    was called, which is also in the command line.
    """
    (tmp_path / name).symlink_to(launcher)
    with Init(mode, [str(tmp_path / name)]).start(shell("echo ready; read line")) as running:
        running.expect("ready")
        assert Path(f"/proc/{running.pid}/comm").read_text() == name[:15] + "\n"
        assert f"{tmp_path}/{name}" in Path(f"/proc/{running.pid}/cmdline").read_text()


def test_executed_by_a_descriptor(launcher: str) -> None:
    """With fexecve(3) the stub does not know its path, and finds the bundle where it was installed."""
    code = ("import os, sys\n"
            "file = os.open(sys.argv[1], os.O_RDONLY | os.O_CLOEXEC)\n"
            "os.execve(file, ['pyinit', '-s', '--', 'sh', '-c', 'exit 23'], os.environ)")
    assert run(python(code, launcher)) == (23, b"", b"")


@pytest.mark.parametrize("called", ["absolute", "relative", "by PATH"])
def test_moved_and_renamed(tmp_path: Path, called: str) -> None:
    """A launcher that has been moved finds its bundle beside it."""
    install.install(str(tmp_path / "pyinit"), PYTHON)
    moved = tmp_path / "folder" / "renamed"
    moved.parent.mkdir()
    for suffix in ("", ".pyc"):
        os.rename(tmp_path / f"pyinit{suffix}", f"{moved}{suffix}")
    program = {"absolute": [moved], "relative": ["folder/../folder/renamed"], "by PATH": [ENV, "renamed"]}[called]
    environment = {"PATH": f"{moved.parent}:{os.environ['PATH']}"}
    assert run([*program, "-s", "--", *shell("exit 24")], cwd=tmp_path, env=environment) == (24, b"", b"")


def test_longest_path(launcher: str, tmp_path: Path) -> None:
    """The path has PATH_MAX bytes with its terminating zero."""
    path = f"{tmp_path}/" + "./" * ((4095 - len(f"{tmp_path}/pyinit")) // 2)
    (tmp_path / "pyinit").symlink_to(launcher)
    assert len(path) > 4080
    assert run([f"{path}pyinit", "-s", "--", *shell("exit 25")]) == (25, b"", b"")


def test_many_descriptors(launcher: str) -> None:
    """The number of the bundle's descriptor may have several digits."""
    code = ("import os, resource, sys\n"
            "resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))\n"
            "for number in range(3, 1234):\n"
            "    os.dup2(0, number)\n"
            "os.execv(sys.argv[1], sys.argv[1:])")
    assert run(python(code, launcher, "-s", "--", *shell("exit 26"))) == (26, b"", b"")


@pytest.mark.parametrize("name", ["init", "pause", "script"])
@pytest.mark.parametrize("first, out", [("/bin/sh", "ran {script} a b\n"), ("--version", "pyinit ")])
def test_behind_the_first_line_of_a_script(launcher: str, tmp_path: Path, name: str, first: str, out: str) -> None:
    """In a script with `#!/usr/bin/dumb-init /bin/sh` the script's name selects no personality, and a file beside it is
    not taken for the bundle.
    """
    script = tmp_path / name
    script.write_text(f'#!{launcher} {first}\necho ran "$0" "$@"\n')
    script.chmod(0o755)
    Path(f"{script}.pyc").write_bytes(Path(f"{launcher}.pyc").read_bytes()[:16] + bytes(200_000))
    result = run([script, "a b"])
    assert (result.code, result.err) == (0, b"")
    assert result.out.decode().startswith(out.format(script=script))


def test_pipe_in_the_place_of_the_bundle(launcher: str, tmp_path: Path) -> None:
    """The stub passes over a pipe. Otherwise it would wait for a writer with every signal blocked."""
    (tmp_path / "pyinit").symlink_to(launcher)
    os.mkfifo(tmp_path / "pyinit.pyc")
    assert run([tmp_path / "pyinit", "-s", "--", *shell("exit 29")]) == (29, b"", b"")


# What is not there --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("how, code, reason", [
    ("missing", 127, "No such file or directory"), ("not executable", 126, "Permission denied"),
    ("no program", 126, "Exec format error"), ("a loop", 126, "Too many levels of symbolic links"),
    ("below a file", 127, "Not a directory"), ("a long name", 126, "error 36")])
def test_interpreter_that_cannot_be_executed(mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str,
                                             code: int, reason: str) -> None:
    """The stub writes one line that names the interpreter."""
    python3 = tmp_path / ("x" * 300 if how == "a long name" else "python3.99")
    if how == "a loop":
        python3.symlink_to(python3)
    elif how == "below a file":
        (tmp_path / "file").touch()
        python3 = tmp_path / "file" / "python3.99"
    elif how in ("not executable", "no program"):
        python3.write_bytes(b"\x7f")
        python3.chmod(0o755 if how == "no program" else 0o644)
    monkeypatch.setattr("pyinit.launcher.stub.find_versioned", lambda *_: str(python3))
    install.install(str(tmp_path / "pyinit"), PYTHON)
    version = ".".join((version_of(PYTHON) or "").split(".")[:2])
    assert Init(mode, [str(tmp_path / "pyinit")]).run(["true"]) == (
        code, b"", f"pyinit: cannot run CPython {version}, for which pyinit-install wrote the launcher: '{python3}': "
                   f"{reason}\n".encode())


@pytest.mark.skipif(not OTHER_PYTHONS, reason="no second version of Python on this machine")
def test_replaced_after_the_stub_has_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a launcher for another Python replaces this one, the interpreter reads the bundle that the stub has opened."""
    waiting = tmp_path / "python"
    waiting.write_text(f'#!/bin/sh\necho waiting; read line; exec "{PYTHON}" "$@"\n')
    waiting.chmod(0o755)
    launcher = str(tmp_path / "pyinit")
    with monkeypatch.context() as patch:
        patch.setattr("pyinit.launcher.stub.find_versioned", lambda *_: str(waiting))
        install.install(launcher, PYTHON)
    with Init("subreaper", [launcher]).start(shell("exit 27")) as running:
        running.expect("waiting")
        install.install(launcher, OTHER_PYTHONS[0])
        running.write(b"\n")
        assert running.finish() == (27, b"", b"")


def test_bundle_that_is_damaged(launcher: str, tmp_path: Path) -> None:
    """One line says why the modules cannot be read; CPython would show a traceback of the bundle."""
    (tmp_path / "pyinit").symlink_to(launcher)
    bundle = bytearray(Path(f"{launcher}.pyc").read_bytes())
    end = 16 + int.from_bytes(bundle[9:12], "little")
    bundle[end - 4 - int.from_bytes(bundle[end - 4:end], "little")] = ord("?")  # the first byte of the modules
    (tmp_path / "pyinit.pyc").write_bytes(bundle)
    code, out, error = run([tmp_path / "pyinit", "-s", "--", "true"])
    assert (code, out, error.count(b"\n")) == (1, b"", 1)
    assert error.startswith(b"pyinit: cannot load the package: ValueError('bad marshal data")


def test_mask_that_is_refused(launcher: str) -> None:
    """If a sandbox refuses the signal mask, the stub ends with exit code 1, as signals would be lost."""
    filtered = python(source("filter_calls"), str(number_of("rt_sigprocmask")))
    assert run([*filtered, launcher, "-s", "--", "true"]).code == 1


def test_script_where_no_path_ends_in_the_version(tmp_path: Path) -> None:
    """Without a path that ends in the version, the installer writes a script: after an upgrade in place CPython would
    refuse the bundle with its own message.
    """
    python3 = tmp_path / "python"
    python3.write_text(f'#!/bin/sh\nexec "{PYTHON}" "$@"\n')
    python3.chmod(0o755)
    assert find_versioned(str(python3), "3.99") == ""
    versioned = tmp_path / "python3.99"
    versioned.symlink_to(python3)
    assert find_versioned(str(python3), "3.99") == find_versioned(str(versioned), "3.99") == str(versioned)
    (tmp_path / "link").symlink_to(versioned)
    assert find_versioned(str(tmp_path / "link"), "3.99") == str(versioned)
    other = tmp_path / "other"
    other.mkdir()
    (other / "python3.99").write_text("another")
    (other / "python").write_text("one")
    assert find_versioned(str(other / "python"), "3.99") == ""


# Each machine -------------------------------------------------------------------------------------------------------

@pytest.fixture(params=list(MACHINES))
def foreign(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the command of a launcher with each machine's stub and this machine's interpreter."""
    front = emulate(request.param)
    if front is None:
        pytest.skip(f"qemu-{request.param}-static is not installed")
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine=request.param))
    install.install(str(tmp_path / "pyinit"), PYTHON)
    return [*front, str(tmp_path / "pyinit")]


def test_stub_of_each_machine(foreign: list[str]) -> None:
    init = Init("subreaper", foreign)
    assert init.run(shell('echo "$@"; exit 28', "a", "", "é")) == (28, "a  é\n".encode(), b"")
    environment = {"LC_CTYPE": "C", "A": "1", "__PYVENV_LAUNCHER__": "x", "B": "2"}
    told = init.run([ENV, "-0"], env=environment).out.split(b"\0")[:-1]
    assert sorted(told) == [b"A=1", b"B=2", b"LC_CTYPE=C", b"__PYVENV_LAUNCHER__=x"]  # QEMU reverses their order
    assert run([*foreign, "--version"]).out.startswith(b"pyinit ")


def test_signal_state_on_each_machine(foreign: list[str]) -> None:
    """The test uses the few signals whose state QEMU passes on unchanged."""
    check_signal_state(Init("subreaper", foreign), [signal.SIGPIPE, signal.SIGXFSZ], [signal.SIGTERM, signal.SIGUSR1])


def test_messages_on_each_machine(foreign: list[str]) -> None:
    bundle = Path(foreign[-1] + ".pyc")
    content = bundle.read_bytes()
    bundle.write_bytes(content[:1000])
    result = run([*foreign, "-s", "--", "true"])
    assert (result.code, result.err.count(b"\n")) == (1, 1) and b"it has been cut short" in result.err
    bundle.unlink()
    result = run([*foreign, "-s", "--", "true"])
    assert (result.code, result.err.count(b"\n")) == (1, 1) and b"No such file or directory" in result.err
