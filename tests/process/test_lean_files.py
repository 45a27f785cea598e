"""The lean programs are small, reproducible and valid ELF files, docs/lean.md has their digests and system calls, and
pyinit-lean writes them or says why not.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from pyinit import __version__, lean
from pyinit.launcher import bundle
from support.disassembly import find_tool
from support.lean_fixtures import list_calls
from support.proc import waits_for_signals
from support.processes import Result, Running, run
from support.settings import DEADLINE, PYTHON, ROOT
from support.waiting import wait_until

DOCUMENT = ROOT / "docs" / "lean.md"
MOST_BYTES = {("pause", "x86_64"): 599, ("pause", "aarch64"): 599, ("init", "x86_64"): 2048, ("init", "aarch64"): 2560,
              ("probe", "x86_64"): 2048, ("probe", "aarch64"): 2048}
# An argument with which each program ends at once, and its exit code then.
ENDS = {"pause": ("-v", 0), "init": ("--version", 0), "probe": ("--version", 3)}

EACH = pytest.mark.parametrize("program, machine", list(MOST_BYTES))
PROGRAMS = pytest.mark.parametrize("program", list(lean.PROGRAMS))


def write(*arguments: object, **popen) -> Result:
    """Run the tool's command line."""
    return run([PYTHON, "-m", "pyinit.lean", *map(str, arguments)], **popen)


@EACH
def test_readelf_has_nothing_to_complain_of(program: str, machine: str, tmp_path: Path) -> None:
    (tmp_path / program).write_bytes(lean.build(program, machine))
    done = subprocess.run([find_tool(machine, "readelf"), "-a", "-W", tmp_path / program], capture_output=True,
                          text=True, check=True, timeout=DEADLINE, env={**os.environ, "LC_ALL": "C"})
    assert done.stderr == "" and "arning" not in done.stdout
    assert re.search(r"Machine: .*(X86-64|AArch64)", done.stdout)
    assert re.search(r"LOAD +0x0+ 0x0+400000 .* R E 0x10000", done.stdout)
    assert re.search(r"GNU_STACK .* RW +0x10", done.stdout)
    assert "INTERP" not in done.stdout and "DYNAMIC" not in done.stdout


@EACH
def test_file_is_small_and_the_same_each_time(program: str, machine: str, tmp_path: Path) -> None:
    content = lean.build(program, machine)
    assert len(content) <= MOST_BYTES[program, machine]
    assert write(program, tmp_path / "out", "--machine", machine, env={"PYTHONHASHSEED": "7", "LANG": "C"}).code == 0
    assert (tmp_path / "out").read_bytes() == content == lean.build(program, machine)


def test_each_program_and_machine_is_tested() -> None:
    assert list(MOST_BYTES) == [(program, machine) for program in ("pause", "init", "probe")
                                for machine in lean.MACHINES]
    assert sorted(lean.PROGRAMS) == sorted(ENDS) == ["init", "pause", "probe"]


@EACH
def test_document_has_the_digest(program: str, machine: str) -> None:
    content = lean.build(program, machine)
    name = machine.replace("x86_64", "x86-64")
    row = f"| {program} | {name} | {len(content)} bytes | `{hashlib.sha256(content).hexdigest()}` |"
    assert row in DOCUMENT.read_text().splitlines(), f"put this into {DOCUMENT.relative_to(ROOT)}: {row}"


@PROGRAMS
def test_readme_has_the_size(program: str) -> None:
    """The README has the size for x86-64, on which its figures were measured."""
    pattern = rf"[*[]lean {program}[*\]].* a static program of ([\d,]+)\s+bytes"
    size = re.search(pattern, (ROOT / "README.md").read_text())
    assert size and int(size[1].replace(",", "")) == len(lean.build(program, "x86_64"))


def test_documents_have_the_version() -> None:
    """The names of the images have the current version."""
    text = "".join((ROOT / name).read_text() for name in ("README.md", "docs/lean.md", "docs/pause.md"))
    assert set(re.findall(r"localhost/lean-\w+:([\d.]+\d)", text)) == {__version__}


def test_document_lists_the_system_calls() -> None:
    rows = re.findall(r"^\| `(\w+)\(2\)` \| (.*?) \| (.*?) \| (.*?) \|", DOCUMENT.read_text(), re.MULTILINE)
    for column, program in enumerate(("pause", "init", "probe"), 1):
        assert sorted(row[0] for row in rows if row[column] != "-") == list_calls(program), program


def test_no_launcher_has_them_in_it() -> None:
    assert not [name for name in bundle.find_modules(str(ROOT)) if "lean" in name]


# The tool


@PROGRAMS
def test_tool_writes_a_program(program: str, tmp_path: Path) -> None:
    machine = os.uname().machine
    options = [] if machine in lean.MACHINES else ["--machine", "x86_64"]
    (tmp_path / "out").write_text("something else")
    for _ in range(2):
        assert write(program, "out", *options, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}) == \
            (0, f"{tmp_path}/out\n".encode(), b"")
        assert os.listdir(tmp_path) == ["out"]
        assert oct((tmp_path / "out").stat().st_mode)[-3:] == "755"
    if not options:
        argument, code = ENDS[program]
        assert run([tmp_path / "out", argument]).code == code


def test_tool_replaces_a_program_that_runs(lean_pauses: dict[str, str], tmp_path: Path) -> None:
    if os.uname().machine not in lean_pauses:
        pytest.skip(f"there is no lean pause for {os.uname().machine}")
    shutil.copy(lean_pauses[os.uname().machine], tmp_path / "pause")
    with Running([str(tmp_path / "pause")]) as running:
        wait_until(lambda: waits_for_signals(running.pid), "the pause to wait")
        assert write("pause", tmp_path / "pause").code == 0
        running.send(signal.SIGTERM)
        assert running.finish().code == 0


def refuse(words: str, *arguments: object) -> None:
    """Check that the tool refuses in one line, with exit code 1."""
    result = write(*arguments)
    message = result.err.decode()
    assert (result.code, result.out, message.count("\n")) == (1, b"", 1), message
    assert message.startswith("pyinit-lean: ") and words in message, message


def test_what_the_tool_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "fifo")
    out = tmp_path / "out"
    for name in ("riscv64", "", "X86_64"):
        refuse(f"--machine {name!r}: expected x86_64 or aarch64", "init", out, "--machine", name)
        refuse(f"{name!r}: expected init, pause, probe or image", name, out)
        refuse(f"--program {name!r}: expected init, pause or probe", "image", out, "--program", name)
    refuse("--machine 'x86_64': an image has a program for each machine", "image", out, "--machine", "x86_64")
    refuse("--program 'pause': expected only with image", "init", out, "--program", "pause")
    for kind in ("init", "pause", "probe", "image"):
        refuse(f"{tmp_path}: is a directory", kind, tmp_path)
        refuse(f"{tmp_path}/fifo: is there and is no file", kind, tmp_path / "fifo")
        refuse("No such file or directory", kind, tmp_path / "missing" / "pause")
        refuse("Not a directory", kind, tmp_path / "file" / "pause")
        refuse("File name too long", kind, tmp_path / ("x" * 300))
        refuse("/proc/pause", kind, "/proc/pause")
        for name in ("new/", "new/.", "new/..", "file/"):
            refuse(f"{tmp_path}/{name}: is a directory, or names no file", kind, f"{tmp_path}/{name}")
    assert sorted(os.listdir(tmp_path)) == ["fifo", "file"]
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.parametrize("arguments", [[], ["init"], ["init", "a", "b"], ["pause", "--unknown", "x"],
                                       ["pause", "x", "--machine"]], ids=str)
def test_command_lines_that_are_refused(arguments: list[str]) -> None:
    result = write(*arguments)
    assert result.code == 2 and result.err.startswith(b"usage: "), result
