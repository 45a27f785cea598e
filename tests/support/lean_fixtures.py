"""Fixtures that replace pyinit by the lean init, for modules that run other modules' tests with the lean init."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable

import pytest

from pyinit.lean import MACHINES, PROGRAMS
from pyinit.lean.assembler import Call, Program
from support.inits import LeanInit
from support.machine import emulate, lean_command
from support.processes import source
from support.sandbox import number_of

FILTER = source("filter_calls")
# The signal that a program raises when it runs past its last instruction.
TRAP = {"x86_64": signal.SIGILL, "aarch64": signal.SIGTRAP}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module that imports this natively in each mode, and emulated as PID 1.

    QEMU's user mode does not implement PR_SET_CHILD_SUBREAPER. The module's NATIVE_ONLY names the tests for which QEMU
    differs from the kernel in other ways.
    """
    if "machine" not in metafunc.fixturenames:
        return
    native = os.uname().machine
    others = [machine for machine in MACHINES if machine != native]
    if metafunc.function.__name__ in getattr(metafunc.module, "NATIVE_ONLY", ()):
        others = []
    if hasattr(metafunc.module, "place"):  # the fixture that the mode is taken from
        metafunc.parametrize("machine", [native, *others], indirect=True)
    elif "mode" in metafunc.fixturenames:
        pairs = [(native, "pid1"), (native, "subreaper"), *((machine, "pid1") for machine in others)]
        metafunc.parametrize("machine, mode", pairs, indirect=True)
    else:
        metafunc.parametrize("machine", [native, *others], indirect=True)


@pytest.fixture
def machine(request: pytest.FixtureRequest) -> str:
    """Return the name of the test's machine; skip the test if its programs cannot run here."""
    name: str = request.param
    if name not in MACHINES or emulate(name) is None:
        pytest.skip(f"no lean init for {name}, or qemu-{name}-static is not installed")
    return name


@pytest.fixture
def mode(request: pytest.FixtureRequest) -> str:
    """Return how the lean init gets orphans: as PID 1 of a new PID namespace, or as a subreaper."""
    name: str = request.param
    if name == "pid1":
        request.getfixturevalue("namespaces")
    return name


@pytest.fixture
def init(mode: str, machine: str, lean_inits: dict[str, str]) -> LeanInit:
    """Return the lean init in each mode."""
    return LeanInit(mode, lean_command(machine, lean_inits[machine]))


@pytest.fixture
def any_init(init: LeanInit) -> LeanInit:
    """Return the lean init: it can be started in one way only."""
    return init


@pytest.fixture
def public_init(init: LeanInit, needs_root: None) -> LeanInit:
    """Return the lean init, which every user may run."""
    return init


def list_calls(program: str) -> list[str]:
    """Return the names of the system calls of a lean program, a key of PROGRAMS, sorted."""
    rows = Program()
    PROGRAMS[program](rows)
    return sorted({row.name for row in rows.operations if isinstance(row, Call)})


def numbers_of(names: Iterable[str]) -> str:
    """Return the numbers of system calls on this machine as FILTER reads them."""
    return " ".join(str(number_of(name)) for name in names)
