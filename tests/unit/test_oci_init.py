"""The OCI runtime's installer finds the ELF files that need a dynamic linker, on machines of each class and byte order.
"""

from __future__ import annotations

import struct

import pytest

from pyinit.oci.install import is_static

PT_LOAD, PT_INTERP, PT_GNU_STACK = 1, 3, 0x6474E551

# Machines: the class, 1 for 32 bits, and the byte order, 1 for little-endian.
MACHINES = {"armv7, i386": (1, 1), "32 bits, big-endian": (1, 2), "x86_64, aarch64": (2, 1), "s390x": (2, 2)}


def write_elf(bits: int, order: int, *types: int, gap: int = 0) -> bytes:
    """Return the beginning of an ELF file, elf(5), with program headers of these types. gap: bytes before them."""
    sign, address = "<>"[order - 1], " IQ"[bits]
    size, entry = (52, 32) if bits == 1 else (64, 56)
    start = size + gap
    header = struct.pack(f"{sign}4s5B7xHHI{address}{address}{address}I6H", b"\x7fELF", bits, order, 1, 0, 0, 2, 0, 1,
                         0, start, 0, 0, size, entry, len(types), 0, 0, 0)
    assert len(header) == size
    entries = (struct.pack(f"{sign}I", each).ljust(entry, b"\0") for each in types)
    return header + bytes(gap) + b"".join(entries)


@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.parametrize("gap", [0, 300])
def test_program_headers(name: str, gap: int) -> None:
    assert is_static(write_elf(*MACHINES[name], PT_LOAD, PT_GNU_STACK, gap=gap))
    assert not is_static(write_elf(*MACHINES[name], PT_INTERP, PT_LOAD, gap=gap))
    assert not is_static(write_elf(*MACHINES[name], PT_LOAD, PT_GNU_STACK, PT_INTERP, gap=gap))


@pytest.mark.parametrize("name", MACHINES)
def test_headers_that_were_not_read(name: str) -> None:
    """A file is refused if not all its program headers are in what was read of it, or if it has none."""
    head = write_elf(*MACHINES[name], PT_LOAD, PT_LOAD, gap=300)
    for length in (len(head) - 1, 300, 40, 6, 0):
        assert not is_static(head[:length]), length
    assert not is_static(write_elf(*MACHINES[name]))
