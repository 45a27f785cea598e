"""The lean init in the place of the Python one: fixtures for the modules that run the other modules' tests with it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
from support import PYTHON, ROOT, LeanInit, emulate

from pyinit.lean import MACHINES

# Installs a seccomp filter, seccomp(2), and executes argv: each call of a list fails with EPERM, or, after an "=",
# answers 0 and does nothing; or, after a "+", each that is not on it kills.
FILTER = """
import ctypes, os, struct, sys
words, argv = sys.argv[1].split(), sys.argv[2:]
deny, kill, allow = 0x00050001, 0x80000000, 0x7fff0000  # SECCOMP_RET_ERRNO, _KILL_PROCESS, _ALLOW
only = words[0] == "+"
if words[0] == "=":
    deny ^= 1
numbers = [int(word) for word in words if word.isdigit()]
program = [(0x20, 0, 0, 0)]  # the number of the call
program += [(0x15, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
program += [(0x06, 0, 0, kill if only else allow), (0x06, 0, 0, allow if only else deny)]
code = b"".join(struct.pack("HBBI", *line) for line in program)
buffer = ctypes.create_string_buffer(code)
filter = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
if libc.prctl(22, 2, ctypes.c_char_p(filter), 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
    sys.exit(f"no seccomp: {os.strerror(ctypes.get_errno())}")
os.execv(argv[0], argv)
"""
# What the instruction behind the last one raises.
TRAP = {"x86_64": signal.SIGILL, "aarch64": signal.SIGTRAP}




@pytest.fixture(scope="session")
def lean_inits(install_folder: Path) -> dict[str, str]:
    """The lean init for each machine."""
    paths = {machine: str(install_folder / f"lean-init-{machine}") for machine in MACHINES}
    for machine, path in paths.items():
        subprocess.run([PYTHON, "-m", "pyinit.lean", "init", path, "--machine", machine], cwd=ROOT, check=True,
                       stdout=subprocess.DEVNULL)
    return paths


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Natively in each mode, and emulated as PID 1: QEMU's user mode knows no PR_SET_CHILD_SUBREAPER. What it does
    otherwise than the kernel is in the module's NATIVE_ONLY. For each module that imports this.
    """
    if "machine" not in metafunc.fixturenames:
        return
    native = os.uname().machine
    others = [machine for machine in MACHINES if machine != native]
    if metafunc.function.__name__ in getattr(metafunc.module, "NATIVE_ONLY", ()):
        others = []
    if hasattr(metafunc.module, "place"):  # which is where the mode comes from
        metafunc.parametrize("machine", [native, *others], indirect=True)
    elif "mode" in metafunc.fixturenames:
        pairs = [(native, "pid1"), (native, "subreaper"), *((machine, "pid1") for machine in others)]
        metafunc.parametrize("machine, mode", pairs, indirect=True)
    else:
        metafunc.parametrize("machine", [native, *others], indirect=True)


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> str:
    """Each machine that there is a lean init for."""
    if request.param not in MACHINES or emulate(request.param) is None:
        pytest.skip(f"no lean init for {request.param}, or qemu-{request.param}-static is not installed")
    return request.param


@pytest.fixture
def mode(request: pytest.FixtureRequest, namespaces: bool) -> str:
    """How it gets orphans."""
    if request.param == "pid1" and not namespaces:
        pytest.skip("no PID namespaces can be made here")
    return request.param


@pytest.fixture
def init(mode: str, machine: str, lean_inits: dict[str, str]) -> LeanInit:
    """The lean init in each mode."""
    return LeanInit(mode, [*emulate(machine), lean_inits[machine]])


@pytest.fixture
def any_init(init: LeanInit) -> LeanInit:
    """There is one way in."""
    return init


@pytest.fixture
def public_init(init: LeanInit, needs_root: None) -> LeanInit:
    """It is one that every user may run."""
    return init


def number_of(name: str) -> int:
    """The number of a system call of this machine."""
    return MACHINES[os.uname().machine].CALLS[name]


def numbers_of(names: Iterable[str]) -> str:
    """The numbers of system calls of this machine, as FILTER reads them."""
    return " ".join(str(number_of(name)) for name in names)
