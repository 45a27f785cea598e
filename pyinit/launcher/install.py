"""Writes a launcher: the fast way in, two files that start as quickly as the interpreter itself.

`pyinit-install DEST` writes DEST, a script that blocks signals in its first statement, and DEST.pyc, the compiled
package, which it loads from beside itself, else from where that was written. They need nothing but the interpreter.

A launcher that is there works before, during and after it is replaced, also for a start that has read one of the two
files before that and reads the other one after it; the script itself is read twice, by the kernel for the interpreter
and by that. So a script takes every bundle of its key: the magic number of the interpreter that runs it, and the
protocol, see bundle.py. Where the key changes, both the old and the new bundle are also written beside DEST.pyc under
the name of their key, where they stay.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

from .. import __version__
from ..destination import ToolError, check_destination, print_paths, resolve, write_file
from ..main import PERSONALITIES
from .script import FAILURE, LAUNCHER, SEARCH

# What a bundle has to have in common with a script: magic number, flags and protocol, of the header's 16 bytes.
MAGIC_SIZE, KEY_SIZE = 4, 9

# How long the interpreter of a launcher may take to compile the package, in seconds.
COMPILE_TIMEOUT = 60


def install(destination: str, python: str = sys.executable, pause: bool = False) -> list[str]:
    """Write a launcher at `destination` that runs under the interpreter `python`; return the files written.

    With `pause` it is a pause under any name; else its name decides. Raises ToolError; a launcher that was there
    works then, or the new one does.
    """
    destination = resolve(destination, "the launcher itself")
    name = "pause" if pause else os.path.basename(destination)
    if name not in PERSONALITIES:
        name = "pyinit"
    bundle = destination + ".pyc"
    for path in (destination, bundle):
        check_destination(path, "the launcher itself")
    python, implementation = inspect_interpreter(python)
    shebang = f"#!{python} -ISXutf8"
    # execve(2): the kernel reads 256 bytes (128 before Linux 5.1), and splits at white space.
    if len(os.fsencode(shebang)) > 127 or any(space in python for space in " \t\n"):
        raise ToolError(f"{python}: the kernel takes no such path behind #!; expected one without spaces "
                           "and of 115 bytes at most")
    content = compile_package(python, PERSONALITIES[name])
    text = LAUNCHER.format(python=python, version=__version__,
                           implementation=implementation, bundle=bundle, name=name,
                           key=content[MAGIC_SIZE:KEY_SIZE],
                           search=SEARCH.format(destination=destination),
                           failure=FAILURE.format(implementation=implementation))
    return write_pair(destination, os.fsencode(text), content)


def write_pair(destination: str, script: bytes, content: bytes) -> list[str]:
    """Write a script and its bundle in an order in which each start finds a pair; return the files written.

    At any moment, for each key that a bundle here ever had: DEST.pyc has it, or there is a bundle under the name of the
    key, which is replaced and never removed. Raises ToolError.
    """
    bundle, second = destination + ".pyc", destination + key_suffix(content)
    old = read_bundle(bundle)
    if not old or old[:KEY_SIZE] == content[:KEY_SIZE]:
        bundles = [second, bundle] if os.path.lexists(second) else [bundle]
        for path in bundles:
            write_file(path, content, 0o644)
        write_file(destination, script, 0o755)
        return [destination, *reversed(bundles)]
    kept = destination + key_suffix(old)
    write_file(kept, old, 0o644)
    write_file(second, content, 0o644)
    write_file(destination, script, 0o755)
    write_file(bundle, content, 0o644)
    return [destination, bundle, second, kept]


def read_bundle(path: str) -> bytes:
    """The content of a bundle, b"" if there is none. Raises ToolError if it cannot be read."""
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
    """What is added to a launcher's name for a bundle that is not DEST.pyc: the magic number and the protocol."""
    return f".{int.from_bytes(content[:2], 'little')}-{content[KEY_SIZE - 1]}.pyc"


def inspect_interpreter(python: str) -> tuple[str, str]:
    """The absolute path of an interpreter, links of a virtual environment resolved, and its name such as CPython 3.11.

    A launcher runs without site-packages, so a virtual environment would only be one more thing that can vanish.
    """
    code = ("import sys; print(getattr(sys, '_base_executable', sys.executable)); print(sys.implementation.name); "
            "print('%d.%d' % sys.version_info[:2])")
    answer = run_interpreter(python, "-c", code).decode("utf-8", "surrogateescape").splitlines()
    executable, name, version = answer if len(answer) == 3 else ("", "no Python", "")
    if name != "cpython" or tuple(map(int, version.split("."))) < (3, 9):
        raise ToolError(f"{python}: is {name} {version}".rstrip() + "; expected CPython 3.9 or later")
    return os.path.abspath(executable), f"CPython {version}"


def compile_package(python: str, personality: str) -> bytes:
    """What bundle.py prints under the interpreter that is to load the package."""
    script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bundle.py")
    return run_interpreter(python, "-Xno_debug_ranges", script, personality)


def run_interpreter(python: str, *arguments: str) -> bytes:
    """What the interpreter prints. Raises ToolError when it cannot be run."""
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
    """The command line: print what was written and return 0, or say what was wrong and return 1."""
    parser = argparse.ArgumentParser(prog="pyinit-install", description="Write a launcher for pyinit at DEST: the "
                                     "script DEST and the compiled package DEST.pyc, which belong together.")
    parser.add_argument("destination", metavar="DEST", help="the launcher's path; its base name chooses what it is")
    parser.add_argument("--pause", action="store_true", help="the launcher is a pause, whatever its name")
    parser.add_argument("--python", metavar="PATH", default=sys.executable,
                        help="the interpreter that it runs under (default: %(default)s)")
    arguments = parser.parse_args()
    try:
        print_paths(install(arguments.destination, arguments.python, arguments.pause))
    except ToolError as error:
        print(f"pyinit-install: {error}", file=sys.stderr)
        return 1
    return 0
