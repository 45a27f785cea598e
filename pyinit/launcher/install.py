"""Write a launcher: two files with which pyinit starts as quickly as the interpreter itself.

`pyinit-install DEST` writes DEST and DEST.pyc. DEST is a stub that blocks signals in its first instructions, or a
script that does so in its first statement. DEST.pyc is the compiled package. DEST looks for it beside itself, then
where it was written. Both need nothing but the interpreter.

A launcher works before, during and after its replacement, also for a start that reads one of the two files before it
and the other one after it. A script is itself read twice: by the kernel for the interpreter, and by the interpreter. So
a launcher takes every bundle of its key: the magic number of the interpreter that runs it, and the protocol, see
bundle.py. A stub opens the bundle before it executes the interpreter. If the key changes, both the old and the new
bundle are also written beside DEST.pyc under the name of their key, and stay there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import NamedTuple

from .. import __version__
from ..destination import ToolError, check_destination, print_paths, resolve, write_file
from ..lean import MACHINES
from ..main import PERSONALITIES
from ..oci import options as oci
from . import stub
from .script import FAILURE, FLAGS, LAUNCHER, SEARCH

# The key that a bundle must share with its launcher: magic number, flags and protocol, of the header's 16 bytes.
MAGIC_SIZE, KEY_SIZE = 4, 9

# How long the interpreter of a launcher may take to compile the package, in seconds.
COMPILE_TIMEOUT = 60


class Interpreter(NamedTuple):
    """An interpreter that will run a launcher."""

    path: str
    version: str  # such as 3.11
    signals: list[int]  # those that it can block


def install(destination: str, python: str = sys.executable, pause: bool = False, script: bool = False) -> list[str]:
    """Write a launcher at `destination` that runs under the interpreter `python`; return the files written.

    With `pause` it is a pause under any name; else its name decides. With `script` it is a script even if a stub is
    possible. Raises ToolError; then the old launcher still works, or the new one already does.
    """
    destination = resolve(destination, "the launcher itself")
    name = "pause" if pause else os.path.basename(destination)
    if name not in PERSONALITIES:
        name = "pyinit"
    for path in (destination, destination + ".pyc"):
        check_destination(path, "the launcher itself")
    interpreter = inspect_interpreter(python)
    versioned = stub.find_versioned(interpreter.path, interpreter.version)
    machine = os.uname().machine
    script = script or machine not in MACHINES or not versioned
    if script:
        check_shebang(interpreter.path)
    content = compile_package(interpreter.path, PERSONALITIES[name])
    key = content[:KEY_SIZE]
    launcher = write_script(destination, interpreter, name, key) if script else stub.write(
        machine, name, versioned, f"CPython {interpreter.version}", interpreter.signals, destination,
        (".pyc", key_suffix(content)), key)
    return write_pair(destination, launcher, content)


def check_shebang(python: str) -> None:
    """Raise ToolError unless the kernel accepts the path of an interpreter behind #!, execve(2): it reads 256 bytes
    (128 before Linux 5.1), and splits at white space.
    """
    if len(os.fsencode(f"#!{python} {FLAGS}")) > 127 or any(space in python for space in " \t\n"):
        raise ToolError(f"{python}: the kernel takes no such path behind #!; expected one without spaces "
                        "and of 115 bytes at most")


def write_script(destination: str, interpreter: Interpreter, name: str, key: bytes) -> bytes:
    """Return the script of the launcher `destination`."""
    implementation = f"CPython {interpreter.version}"
    return os.fsencode(LAUNCHER.format(
        python=interpreter.path, flags=FLAGS, version=__version__, implementation=implementation,
        bundle=destination + ".pyc", name=name, key=key[MAGIC_SIZE:], search=SEARCH.format(destination=destination),
        failure=FAILURE.format(implementation=implementation)))


def write_pair(destination: str, launcher: bytes, content: bytes) -> list[str]:
    """Write a stub or a script and its bundle in an order in which each start finds a pair; return the files written.

    At any moment, for each key that a bundle here ever had, DEST.pyc has this key, or there is a bundle under the name
    of the key. Such a bundle is replaced and never removed. Raises ToolError.
    """
    bundle, second = destination + ".pyc", destination + key_suffix(content)
    old = read_bundle(bundle)
    if not old or old[:KEY_SIZE] == content[:KEY_SIZE]:
        bundles = [second, bundle] if os.path.lexists(second) else [bundle]
        for path in bundles:
            write_file(path, content, 0o644)
        write_file(destination, launcher, 0o755)
        return [destination, *reversed(bundles)]
    kept = destination + key_suffix(old)
    write_file(kept, old, 0o644)
    write_file(second, content, 0o644)
    write_file(destination, launcher, 0o755)
    write_file(bundle, content, 0o644)
    return [destination, bundle, second, kept]


def read_bundle(path: str) -> bytes:
    """Return the content of a bundle, or b"" if the file is no bundle. Raises ToolError if it cannot be read."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ToolError(f"{path}: cannot read the bundle that is there: {error.strerror}") from None
    # A magic number, which ends in a newline, and the flags of PEP 552 that bundle.py sets.
    return content if content[2:8] == b"\r\n\1\0\0\0" and len(content) > 16 else b""


def key_suffix(content: bytes) -> str:
    """Return the suffix of a bundle that is not DEST.pyc; it has the magic number and the protocol."""
    return f".{int.from_bytes(content[:2], 'little')}-{content[KEY_SIZE - 1]}.pyc"


def inspect_interpreter(python: str) -> Interpreter:
    """Return what a launcher has to know of an interpreter. The links of a virtual environment are resolved.

    A launcher runs without site-packages, so a virtual environment would only be one more thing that can vanish. Raises
    ToolError.
    """
    code = ("import _signal, sys; print(getattr(sys, '_base_executable', sys.executable)); "
            "print(sys.base_prefix); print(sys.implementation.name); print('%d.%d' % sys.version_info[:2]); "
            "print(*map(int, _signal.valid_signals()))")
    answer = run_interpreter(python, "-c", code).decode("utf-8", "surrogateescape").splitlines()
    executable, prefix, name, version, signals = answer if len(answer) == 5 else ("", "", "no Python", "", "")
    if name != "cpython" or tuple(map(int, version.split("."))) < (3, 9):
        raise ToolError(f"{python}: is {name} {version}".rstrip() + "; expected CPython 3.9 or later")
    executable = leave_environment(os.path.abspath(executable), f"{prefix}/bin/python{version}")
    return Interpreter(executable, version, [int(number) for number in signals.split()])


def leave_environment(executable: str, base: str) -> str:
    """Return `base`, where the interpreter behind a virtual environment usually is, if `executable` is in one: before
    Python 3.11 it does not know the path of the interpreter behind it. Otherwise return `executable`.
    """
    folder = os.path.dirname(executable)
    marks = (f"{folder}/pyvenv.cfg", f"{os.path.dirname(folder)}/pyvenv.cfg")
    return base if os.path.exists(base) and any(map(os.path.exists, marks)) else executable


def compile_package(python: str, personality: str) -> bytes:
    """Return what bundle.py prints under the interpreter that will load the package. Raises ToolError."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bundle.py")
    return run_interpreter(python, "-Xno_debug_ranges", script, personality)


def run_interpreter(python: str, *arguments: str) -> bytes:
    """Run the interpreter and return what it prints. Raises ToolError if it cannot be run, or fails."""
    try:
        return subprocess.run([python, "-IS", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=COMPILE_TIMEOUT, check=True).stdout
    except OSError as error:
        raise ToolError(f"{python}: cannot run it: {error.strerror}; expected a Python interpreter") from None
    except subprocess.TimeoutExpired:
        raise ToolError(f"{python}: gave no answer in {COMPILE_TIMEOUT} s; expected a Python interpreter") from None
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ToolError(f"{python}: failed with exit code {error.returncode} ({reason}); expected CPython 3.9 "
                           "or later") from None


def main() -> int:
    """Run the command line: print what was written and return 0, or say what was wrong and return 1."""
    parser = argparse.ArgumentParser(prog="pyinit-install", description="Write a launcher for pyinit at DEST: the "
                                     "program DEST and the compiled package DEST.pyc, which belong together.")
    parser.add_argument("destination", metavar="DEST", help="the launcher's path; its base name chooses what it is")
    parser.add_argument("--pause", action="store_true", help="the launcher is a pause, whatever its name")
    parser.add_argument("--python", metavar="PATH", default=sys.executable,
                        help="the interpreter that it runs under (default: %(default)s)")
    parser.add_argument("--script", action="store_true", help="DEST is a Python script, as it is on any machine but "
                        f"{' and '.join(MACHINES)}, and with an interpreter whose path does not end in its version; "
                        "without this, it is a program of 3 kB that blocks signals before the interpreter starts")
    oci.add_options(parser)
    arguments = parser.parse_args()
    try:
        oci.check_options(arguments)
        if arguments.oci_runtime:
            from ..oci.install import install as install_runtime  # which imports this module

            written = install_runtime(arguments.destination, arguments.python, arguments.runtime, arguments.init,
                                      arguments.only_annotated)
        else:
            written = install(arguments.destination, arguments.python, arguments.pause, arguments.script)
        print_paths(written)
    except ToolError as error:
        print(f"pyinit-install: {error}", file=sys.stderr)
        return 1
    return 0
