"""The lean programs: Python assembles them, and they run without an interpreter.

Each program is written once, in the portable instruction set of assembler.py; x86_64.py and aarch64.py encode it, and
elf.py makes a static executable of it.
"""

from __future__ import annotations

from functools import partial

from . import aarch64, elf, init, pause, probe, stub, x86_64
from .assembler import Instruction, Source, assemble

MACHINES = {"x86_64": x86_64, "aarch64": aarch64}
# The stub is not among them, because the installer of a launcher decides what is in it.
PROGRAMS = {"init": init.write, "pause": pause.write, "probe": probe.write}


def build(program: str, machine: str) -> bytes:
    """Return a program, a key of PROGRAMS, for a machine, a key of MACHINES: the same bytes each time."""
    return link(PROGRAMS[program], machine)


def build_stub(settings: stub.Settings, machine: str) -> bytes:
    """Return the stub of a launcher for a machine, a key of MACHINES."""
    return link(partial(stub.write, settings=settings), machine)


def link(source: Source, machine: str) -> bytes:
    """Return the executable of a program."""
    instructions, data = assemble_source(source, machine)
    return elf.write(MACHINES[machine].NUMBER, b"".join(instruction.code for instruction in instructions) + data)


def assemble_source(source: Source, machine: str) -> tuple[list[Instruction], bytes]:
    """Return the instructions of a program, each in its place, and the data behind them."""
    return assemble(source, MACHINES[machine], elf.ENTRY, elf.SYMBOLS)
