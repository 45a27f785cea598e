"""Static executables, elf(5): one segment holds the whole file, readable and executable.

The program can write to no memory but the stack, which is not executable. The segment is aligned for the largest page
of aarch64, 64 kB.
"""

from __future__ import annotations

import struct

ELF_HEADER = struct.Struct("<4s5B7x2HI3QI6H")
PROGRAM_HEADER = struct.Struct("<2I6Q")
BASE, ALIGNMENT = 0x400000, 0x10000
ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_SYSV, ET_EXEC = 2, 1, 1, 0, 2
PT_LOAD, PT_GNU_STACK, PF_X, PF_W, PF_R = 1, 0x6474E551, 1, 2, 4
HEADERS_SIZE = ELF_HEADER.size + 2 * PROGRAM_HEADER.size
ENTRY = BASE + HEADERS_SIZE
# What a program can read in its own headers: the file itself, its size, and 40 bytes that are 0 (in PT_GNU_STACK).
SYMBOLS = {"base": BASE, "size": BASE + ELF_HEADER.size + 32, "zeros": BASE + ELF_HEADER.size + PROGRAM_HEADER.size + 8}


def write(machine: int, content: bytes) -> bytes:
    """Return an executable whose first instruction is the first byte of `content`. machine: e_machine."""
    size = HEADERS_SIZE + len(content)
    header = ELF_HEADER.pack(b"\x7fELF", ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_SYSV, 0, ET_EXEC, machine,
                             EV_CURRENT, ENTRY, ELF_HEADER.size, 0, 0, ELF_HEADER.size, PROGRAM_HEADER.size, 2, 0, 0, 0)
    load = PROGRAM_HEADER.pack(PT_LOAD, PF_R | PF_X, 0, BASE, BASE, size, size, ALIGNMENT)
    stack = PROGRAM_HEADER.pack(PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16)
    return header + load + stack + content
