"""Programs without an interpreter: Python assembles them, and is not there when they run.

Each program is written once, in the portable instruction set of assembler.py; x86_64.py and aarch64.py encode it, and
elf.py makes a static executable of it.
"""

from __future__ import annotations

from . import aarch64, elf, init, pause, x86_64
from .assembler import Call, Instruction, Program, assemble

MACHINES = {"x86_64": x86_64, "aarch64": aarch64}
PROGRAMS = {"init": init.write, "pause": pause.write}


def build(program: str, machine: str) -> bytes:
    """Return a program, a key of PROGRAMS, for a machine, a key of MACHINES: the same bytes each time."""
    instructions, data = assemble_program(program, machine)
    return elf.write(MACHINES[machine].NUMBER, b"".join(instruction.code for instruction in instructions) + data)


def assemble_program(program: str, machine: str) -> tuple[list[Instruction], bytes]:
    """Return the instructions of a program, each in its place, and the data behind them."""
    return assemble(PROGRAMS[program], MACHINES[machine], elf.ENTRY, elf.SYMBOLS)


def list_calls(program: str) -> list[str]:
    """Return the names of the system calls of a program, sorted."""
    rows = Program()
    PROGRAMS[program](rows)
    return sorted({row.name for row in rows.operations if isinstance(row, Call)})
