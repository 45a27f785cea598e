"""A launcher runs from any path and under any name, and the installer refuses what would not work."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipimport
from pathlib import Path

import pytest

from pyinit.lean import MACHINES
from support.inits import Init
from support.machine import find_pythons, version_of
from support.processes import Result, run, shell
from support.settings import DEADLINE, MOUNTS, PYTHON, ROOT

OTHERS = [path for version, path in find_pythons().items() if version[:4] != (version_of(PYTHON) or "")[:4]]


def install(*arguments: object, **popen) -> Result:
    """Run the installer's command line; fail if it writes a traceback."""
    return run([PYTHON, "-m", "pyinit.launcher", *arguments], **popen)


def check(launcher: object) -> None:
    """Check that a launcher runs a command."""
    assert run([launcher, "-s", "--", *shell("echo works; exit 41")]) == (41, b"works\n", b"")


@pytest.fixture(params=["stub", "script"])
def kind(request: pytest.FixtureRequest) -> list[str]:
    """Return the installer's options for each kind of launcher."""
    if request.param == "stub" and os.uname().machine not in MACHINES:
        pytest.skip(f"no stub for {os.uname().machine}")
    return ["--script"] if request.param == "script" else []


@pytest.mark.core
def test_files_that_are_written(kind: list[str], tmp_path: Path) -> None:
    result = install(*kind, tmp_path / "launcher")
    assert result == (0, f"{tmp_path}/launcher\n{tmp_path}/launcher.pyc\n".encode(), b"")
    assert sorted(os.listdir(tmp_path)) == ["launcher", "launcher.pyc"]
    assert oct((tmp_path / "launcher").stat().st_mode)[-3:] == "755"
    assert oct((tmp_path / "launcher.pyc").stat().st_mode)[-3:] == "644"
    content = (tmp_path / "launcher").read_bytes()
    if kind:
        lines = content.decode().splitlines()
        interpreter, _, flags = lines[0].partition(" ")
        assert interpreter.startswith("#!/") and flags.startswith("-IS")
        assert "pthread_sigmask" in lines[1], "signals are blocked in the first statement"
    else:
        assert content.startswith(b"\x7fELF") and len(content) < 4096
    check(tmp_path / "launcher")


def test_relative_path(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert install("launcher", cwd=tmp_path, env=environment).code == 0
    check(tmp_path / "launcher")


@pytest.mark.parametrize("name", ["with space", "quote'\"", "new\nline", "brace{}", "back\\slash", "per%cent", "é",
                                  os.fsdecode(b"bytes\xff")], ids=ascii)
def test_any_path(kind: list[str], tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    assert install(*kind, folder / name).code == 0
    check(folder / name)
    assert run([folder / name, "--version"]).out.startswith(b"pyinit ")


def test_installed_over_another(tmp_path: Path) -> None:
    (tmp_path / "launcher").write_text("something else")
    for _ in range(2):
        assert install(tmp_path / "launcher").code == 0
        check(tmp_path / "launcher")


def test_installed_over_one_that_runs(tmp_path: Path) -> None:
    assert install(tmp_path / "launcher").code == 0
    with Init("subreaper", [str(tmp_path / "launcher")]).start(shell("echo ready; read x; exit 5")) as running:
        running.expect("ready")
        assert install(tmp_path / "launcher").code == 0
        assert running.finish().code == 5
    check(tmp_path / "launcher")


def test_same_bytes_each_time(tmp_path: Path) -> None:
    """The files depend only on the interpreter and the destination."""
    assert install(tmp_path / "launcher").code == 0
    first = (tmp_path / "launcher").read_bytes(), (tmp_path / "launcher.pyc").read_bytes()
    for seed in ("1", "2"):
        assert install(tmp_path / "launcher", env={"PYTHONHASHSEED": seed, "LANG": "C"}).code == 0
        assert ((tmp_path / "launcher").read_bytes(), (tmp_path / "launcher.pyc").read_bytes()) == first


def test_symlink(launcher: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(launcher)
    (tmp_path / "link2").symlink_to("link")
    check(tmp_path / "link2")
    os.link(launcher, f"{launcher}-hard")
    try:
        check(f"{launcher}-hard")
    finally:
        os.unlink(f"{launcher}-hard")


def test_found_by_path(launcher: str) -> None:
    folder = os.path.dirname(launcher)
    result = run(["/usr/bin/env", "pyinit", "-s", "--", *shell("exit 6")], env={"PATH": f"{folder}:/usr/bin:/bin"})
    assert result == (6, b"", b"")


@pytest.mark.core
def test_read_only_bind_mount(mode: str, launcher: str, mounts: None) -> None:
    """The launcher works if each of its files is mounted read-only by itself, as by podman's `--init` or Kubernetes."""
    script = """
for file in "$0" "$0.pyc"; do
    mount --bind "$file" "$file" && mount -o remount,bind,ro "$file" && ! touch "$file" 2>/dev/null || exit 99
done
exec "$@"
"""
    result = Init(mode, [launcher]).run(shell("exit 44"), inside=[*MOUNTS, "/bin/sh", "-c", script, launcher])
    assert result == (44, b"", b"")


def test_no_write_beside_the_launcher(launcher: str) -> None:
    """A launcher writes neither a cache of compiled files nor any other file."""
    before = sorted(os.listdir(os.path.dirname(launcher)))
    check(launcher)
    run([launcher, "--help"])
    assert sorted(os.listdir(os.path.dirname(launcher))) == before


def break_bundle(launcher: Path, how: str) -> None:
    """Change the bundle so that it cannot be loaded."""
    bundle = Path(f"{launcher}.pyc")
    content = bundle.read_bytes()
    if how == "missing":
        bundle.unlink()
    elif how == "empty":
        bundle.write_bytes(b"")
    elif how == "cut":
        bundle.write_bytes(content[:1000])
    elif how == "header only":
        bundle.write_bytes(content[:16])
    elif how == "garbage":
        bundle.write_bytes(content[:16] + os.urandom(3000))
    elif how == "folder":
        bundle.unlink()
        bundle.mkdir()
    else:
        bundle.write_bytes(b"\x00\x00\r\n" + content[4:])


@pytest.mark.core
@pytest.mark.parametrize("how", ["missing", "empty", "cut", "header only", "folder", "other version"])
def test_bundle_that_cannot_be_loaded(mode: str, kind: list[str], tmp_path: Path, how: str) -> None:
    """The launcher writes one clear line and exits with code 1."""
    assert install(*kind, tmp_path / "launcher").code == 0
    break_bundle(tmp_path / "launcher", how)
    result = Init(mode, [str(tmp_path / "launcher")]).run(["true"])
    message = result.err.decode()
    assert (result.code, result.out, message.count("\n")) == (1, b"", 1), message
    assert message.startswith("pyinit: ") and f"{tmp_path}/launcher.pyc" in message and "pyinit-install" in message


def test_bundle_of_another_python(tmp_path: Path) -> None:
    if not OTHERS:
        pytest.skip("no second version of Python on this machine")
    assert install(tmp_path / "launcher").code == install("--python", OTHERS[0], tmp_path / "other").code == 0
    shutil.copy(tmp_path / "other.pyc", tmp_path / "launcher.pyc")
    result = run([tmp_path / "launcher", "-s", "--", "true"])
    assert result.code == 1 and result.err.startswith(b"pyinit: ") and result.err.count(b"\n") == 1
    own, other = ("CPython " + ".".join((version_of(path) or "").split(".")[:2]) for path in (PYTHON, OTHERS[0]))
    assert f"it is for {other}; expected the file that pyinit-install wrote" in result.err.decode()
    assert result.err.decode().endswith(f"for {own}\n")


@pytest.mark.parametrize("python", OTHERS)
def test_another_python(kind: list[str], tmp_path: Path, python: str) -> None:
    """The interpreter that runs a launcher need not be the one that installs it."""
    assert install("--python", python, *kind, tmp_path / "launcher").code == 0
    assert os.path.dirname(python).encode() + b"/python" in (tmp_path / "launcher").read_bytes()
    check(tmp_path / "launcher")


@pytest.mark.core
@pytest.mark.parametrize("options", [[], ["--copies"]], ids=" ".join)
def test_virtual_environment(tmp_path: Path, options: list[str]) -> None:
    """A launcher installed from a virtual environment runs the interpreter behind it, and outlives the environment."""
    subprocess.run([PYTHON, "-m", "venv", "--without-pip", *options, tmp_path / "venv"], check=True,
                   timeout=DEADLINE * 4)
    result = run([tmp_path / "venv/bin/python", "-m", "pyinit.launcher", tmp_path / "launcher"])
    assert result.code == 0, result
    shutil.rmtree(tmp_path / "venv")
    check(tmp_path / "launcher")


def test_folder_as_destination(tmp_path: Path) -> None:
    refuse(f"{tmp_path}: is a directory", tmp_path)
    assert os.listdir(tmp_path) == []


def refuse(words: str, *arguments: object) -> None:
    """Check that the installer refuses in one line, with exit code 1."""
    result = install(*arguments)
    message = result.err.decode()
    assert (result.code, result.out, message.count("\n")) == (1, b"", 1), message
    assert message.startswith("pyinit-install: ") and words in message, message


def test_destination_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refuse("No such file or directory", tmp_path / "missing" / "launcher")
    refuse("Not a directory", tmp_path / "file" / "launcher")
    refuse("/proc/launcher", "/proc/launcher")
    refuse("File name too long", tmp_path / ("x" * 300))
    refuse("File name too long", tmp_path / ("x" * 252))  # the name of DEST.pyc
    for name in ("new/", "new/.", "new/..", "file/"):
        refuse(f"{tmp_path}/{name}: is a directory, or names no file", f"{tmp_path}/{name}")
    refuse("'': is a directory, or names no file", "")
    (tmp_path / "launcher.pyc").mkdir()
    refuse("launcher.pyc", tmp_path / "launcher")
    assert sorted(os.listdir(tmp_path)) == ["file", "launcher.pyc"]


@pytest.mark.parametrize("tool", ["pyinit.launcher", "pyinit.lean init"])
def test_working_directory_that_is_gone(tool: str, tmp_path: Path) -> None:
    """The tools refuse a relative path then."""
    command = shell('rmdir "$PWD" && exec "$@"', PYTHON, "-m", *tool.split())
    for name, code in (("launcher", 1), (str(tmp_path / "launcher"), 0)):
        (tmp_path / "gone").mkdir()
        result = run([*command, name], cwd=tmp_path / "gone", env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert (result.code, result.err.count(b"\n")) == (code, code), result
        assert not code or b"launcher: the working directory cannot be found" in result.err


NAMES = {"pyinit.launcher": "pyinit-install", "pyinit.lean": "pyinit-lean"}


@pytest.mark.parametrize("tool, suffixes", [("pyinit.launcher", ("", ".pyc")), ("pyinit.lean pause", ("",))])
@pytest.mark.parametrize("shut, reason", [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")])
def test_answer_that_cannot_be_written(tool: str, suffixes: tuple[str, ...], shut: str, reason: str,
                                       tmp_path: Path) -> None:
    """The installer exits with code 1 and says in one line that it has written the files."""
    result = run(shell(f'exec "$@" {shut}', PYTHON, "-m", *tool.split(), str(tmp_path / "launcher")))
    files = [f"{tmp_path}/launcher{suffix}" for suffix in suffixes]
    assert (result.code, result.out) == (1, b"")
    assert result.err.decode() == f"{NAMES[tool.split()[0]]}: stdout: cannot write to it: {reason}; " \
                                  f"written all the same: {', '.join(files)}\n"
    assert all(map(os.path.isfile, files))


@pytest.mark.parametrize("tool, longest", [("pyinit.launcher", 251), ("pyinit.lean image", 255)])
@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict"])
def test_any_name(tool: str, longest: int, encoding: str, tmp_path: Path) -> None:
    """A name may have bytes that are not text in the encoding of stdout, and be as long as NAME_MAX allows."""
    path = os.fsencode(tmp_path / os.fsdecode(b"\xff\xc3".ljust(longest, b"x")))
    result = run([PYTHON, "-m", *tool.split(), path], env={"PYTHONIOENCODING": encoding})
    assert (result.code, result.err) == (0, b"") and result.out.splitlines()[0] == path
    assert sorted(os.listdir(os.fsencode(tmp_path))) == sorted(map(os.path.basename, result.out.splitlines()))


def test_python_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "script").write_text("no program\n")
    for python in ("/bin/true", "/bin/false", "/bin/cat", "/no/such/python", str(tmp_path),
                   str(tmp_path / "script"), ""):
        refuse(python or "", "--python", python, tmp_path / "launcher")
    assert os.listdir(tmp_path) == ["script"]


def test_python_that_is_too_old(tmp_path: Path) -> None:
    old = [str(path) for path in Path.home().glob(".pyenv/versions/*/bin/python")
           if path.parts[-3].startswith(("2.", "3.6", "3.7", "3.8"))]
    if not old:
        pytest.skip("no Python before 3.9 on this machine")
    for python in old:
        refuse("3.9", "--python", python, tmp_path / "launcher")
    assert os.listdir(tmp_path) == []


def test_python_at_a_path_that_no_shebang_takes(tmp_path: Path) -> None:
    """execve(2) cuts the path of a `#!` line at white space and at a length."""
    for name in ("with space", "x" * 120):
        (tmp_path / name).mkdir()
        wrapper = tmp_path / name / "python"
        wrapper.write_text(f'#!/bin/sh\nexec "{PYTHON}" "$@"\n')
        wrapper.chmod(0o755)
        result = install("--python", wrapper, tmp_path / "launcher")
        # The installer refuses it or resolves it to an interpreter at another path, and never writes a launcher that
        # does not start.
        if result.code == 0:
            check(tmp_path / "launcher")
        else:
            assert (result.code, result.err.count(b"\n")) == (1, 1), result


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--unknown", "x"], ["--python"]], ids=str)
def test_command_lines_that_are_refused(arguments: list[str], tmp_path: Path) -> None:
    result = install(*arguments)
    assert result.code == 2 and result.err.startswith(b"usage: "), result


def test_bundle_is_no_archive(tmp_path: Path) -> None:
    """The interpreter finds at the end of the bundle that it is no zip archive, without searching 64 kB."""
    assert install(tmp_path / "launcher").code == 0
    with pytest.raises(zipimport.ZipImportError, match="bad central directory size"):
        zipimport.zipimporter(str(tmp_path / "launcher.pyc"))
