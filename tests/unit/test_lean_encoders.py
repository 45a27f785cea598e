"""The encoders of the lean programs agree with objdump: on each operation, with each register and each limit of an
operand.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from pyinit import lean
from pyinit.lean import elf, stub, x86_64
from pyinit.lean.assembler import (A0, A1, A2, RESULT, S0, SP, Add, Address, Branch, Call, Jump, Load, Mask, Operation,
                                   Program, Register, Set, Shift, Store, Subtract, Trap, assemble, fit)
from pyinit.lean.stub import Settings
from support.disassembly import disassemble, normalise

MACHINES = pytest.mark.parametrize("machine", list(lean.MACHINES))
HERE = 0x400000  # the address of the instruction that is encoded
# Constants on both sides of the limits of 8, 12, 16 and 32 bits, with and without a sign, and some of 64 bits.
CONSTANTS = sorted({sign * (1 << bits) + more for bits in (7, 8, 11, 12, 15, 16, 31, 32, 62) for sign in (1, -1)
                    for more in (-1, 0, 1)} | {0, 1, -1, 0xC0000003, 0x7FFF8000, 0x12345678, 0x123456789ABCDEF0})
OFFSETS = (0, 1, 2, 8, 16, 120, 127, 128, 136, 248, 4080)
TARGETS = {"here": HERE, "near": HERE + 100, "back": HERE - 100, "far": HERE + 5000, "far_back": HERE - 5000,
           "limit": HERE + 127, "limit_back": HERE - 128}
ALIGNED = {name: address & ~3 for name, address in TARGETS.items()}
STUB = Settings(name=b"pyinit", interpreter=b"/usr/bin/python3.11", flags=b"-ISXutf8", signals=b"\xff" * 8,
                destination=b"/sbin/pyinit", suffixes=(b".pyc", b".3495-2.pyc"), key=b"\xa7\r\r\n\1\0\0\0\2",
                failure=b"pass", cannot_run=b"cannot run '")
SOURCES = {**lean.PROGRAMS, "stub": partial(stub.write, settings=STUB)}
REGISTERS = [register for register in Register if register is not SP]


def operations(machine: str) -> Iterator[Operation]:
    """Yield each operation with each register and operand."""
    for register in REGISTERS:
        yield from (Set(register, constant) for constant in CONSTANTS)
        yield from (Set(register, name) for name in TARGETS)
        yield from (Shift(register, count) for count in (1, 8, 31))
        yield from (Mask(register, constant) for constant in (1, 0x7F, 0xFF, 0xFFFFFF, 0xFFFFDFFF, 0x80000000, 0x180,
                                                              0xFFFFFF80))
        yield from (Branch(register, condition, right, "near", wide)
                    for condition in x86_64.CONDITIONS for wide in (0, 1)
                    for right in (0, 1, -1, 127, -128, 128, 4095, -4095, 4096, 0x7FFFFFFF, -0x80000000))
        yield from (Branch(register, "==", 0, label, False) for label in TARGETS)
        yield from (Branch(register, "<", 0, label, False) for label in TARGETS)
        for other in REGISTERS:
            yield Subtract(register, other)
            yield Branch(register, ">=", other, "back", False)
            yield Branch(register, "!=", other, "far_back", True)
        for base in Register:
            yield from (Add(register, base, constant) for constant in (0, 1, -1, 127, -128, 128, 4095, -4096, 0x123456))
            yield from (type_(register, base, offset, size) for type_ in (Load, Store) for size in (1, 4, 8)
                        for offset in (*OFFSETS, -1, -8, -128) if machine == "x86_64" or is_addressable(offset, size))
    yield from (Add(SP, register, 0) for register in REGISTERS)
    yield from (Add(SP, SP, constant) for constant in (-16, 16, -80, 128, -4608, 4608, 0))
    yield from (Jump(label) for label in TARGETS)
    yield from (Call(name) for name in lean.MACHINES[machine].CALLS)
    yield Trap()


def is_addressable(offset: int, size: int) -> bool:
    """Say whether aarch64 can load or store at an offset: it takes multiples of the size, or 9 bits with a sign."""
    return offset >= 0 and offset % size == 0 or -256 <= offset < 256


@MACHINES
def test_each_operation_is_what_objdump_reads(machine: str, tmp_path: Path) -> None:
    """Each operation has its own address in one long listing, and its jumps go to addresses around it."""
    code, expected = b"", []
    for operation in operations(machine):
        address = HERE + len(code)
        symbols = {name: target + len(code) for name, target in (ALIGNED if machine == "aarch64" else TARGETS).items()}
        for piece, mnemonic in lean.MACHINES[machine].encode(operation, address, symbols):
            expected.append((HERE + len(code), piece, normalise(mnemonic)))
            code += piece
    assert len(expected) > 5000
    assert disassemble(machine, code, HERE, tmp_path) == expected


@MACHINES
@pytest.mark.parametrize("operation, meaning", [
    (Set(A0, 5), {"push 5;pop rdi", "mov w0,5"}),
    (Set(A0, -100), {"push 18446744073709551516;pop rdi", "mov x0,18446744073709551516"}),
    (Add(S0, SP, 8), {"lea rbx,[rsp+8]", "add x19,sp,8"}),
    (Add(S0, RESULT, 0), {"mov rbx,rax", "mov x19,x0"}),
    (Subtract(A1, A2), {"sub rsi,rdx", "sub x1,x1,x2"}),
    (Load(A1, A2, 1, 1), {"movzx esi,byte ptr [rdx+1]", "ldrb w1,[x2,1]"}),
    (Store(A1, SP, 8, 8), {"mov qword ptr [rsp+8],rsi", "str x1,[sp,8]"}),
    (Branch(RESULT, "<", 0, "near", False), {"test eax,eax;jl 4194404", "tbnz w0,31,4194404"}),
    (Branch(A1, ">", 256, "near", True), {"cmp rsi,256;jg 4194404", "cmp x1,256;b.gt 4194404"}),
    (Call("getpid"), {"push 39;pop rax;syscall", "mov w8,172;svc 0"}),
], ids=lambda value: type(value).__name__ if isinstance(value, tuple) else "")
def test_operation_means_what_it_says(machine: str, operation: Operation, meaning: set[str]) -> None:
    """The test above compares with the encoder's own mnemonics; this one compares with the operation's meaning."""
    pieces = lean.MACHINES[machine].encode(operation, HERE, TARGETS)
    assert ";".join(normalise(mnemonic) for _, mnemonic in pieces) in meaning


@MACHINES
@pytest.mark.parametrize("program", list(SOURCES))
def test_listing_is_what_objdump_reads(machine: str, program: str, tmp_path: Path) -> None:
    """Each instruction of a listing has the address, bytes and mnemonic that objdump reads."""
    listing, _ = lean.assemble_source(SOURCES[program], machine)
    found = disassemble(machine, b"".join(one.code for one in listing), elf.ENTRY, tmp_path)
    assert [(one.address, one.code, normalise(one.mnemonic)) for one in listing] == found


@MACHINES
def test_disassembly_finds_a_wrong_bit(machine: str, tmp_path: Path) -> None:
    """The tests above can fail: a wrong bit gives another mnemonic."""
    (code, mnemonic), = lean.MACHINES[machine].encode(Subtract(A1, A2), HERE, {})
    for bit in (0, 5):
        wrong = bytearray(code)
        wrong[-1 if machine == "x86_64" else 0] ^= 1 << bit
        assert disassemble(machine, bytes(wrong), HERE, tmp_path)[0][2] != normalise(mnemonic)


@pytest.mark.parametrize("value, bits, signed", [(128, 8, True), (-129, 8, True), (256, 8, False), (-1, 8, False)])
def test_value_that_does_not_fit(value: int, bits: int, signed: bool) -> None:
    with pytest.raises(ValueError, match=f"{value} does not fit into {bits} bits"):
        fit(value, bits, signed)


@pytest.mark.parametrize("value, bits, signed, field", [(127, 8, True, 127), (-128, 8, True, 128), (-1, 8, True, 255),
                                                        (255, 8, False, 255), (0, 8, False, 0)])
def test_value_that_fits(value: int, bits: int, signed: bool, field: int) -> None:
    assert fit(value, bits, signed) == field


@pytest.mark.parametrize("machine, operation", [
    ("aarch64", Mask(A0, 0x5)), ("aarch64", Mask(A0, 0)), ("aarch64", Load(A0, A1, 257, 4)),
    ("aarch64", Store(A0, A1, -257, 8)), ("aarch64", Load(A0, A1, 4096, 1)), ("aarch64", Add(A0, A1, 1 << 24)),
    ("aarch64", Shift(A0, 32)), ("aarch64", Set(A0, "far_away")), ("aarch64", Branch(A0, "<", 0, "far_away", False)),
    ("aarch64", Jump("farther")), ("x86_64", Shift(A0, 32)), ("x86_64", Add(A0, A1, 1 << 31)),
    ("x86_64", Branch(A0, "==", 1 << 31, "far_away", False)), ("x86_64", Jump("farther")),
    ("x86_64", Mask(A0, 1 << 32)), ("x86_64", Load(A0, A1, 1 << 31, 8)),
], ids=str)
def test_operand_that_no_instruction_has_room_for(machine: str, operation: Operation) -> None:
    """An operand that does not fit is refused and not truncated."""
    with pytest.raises(ValueError):
        lean.MACHINES[machine].encode(operation, HERE, {"far_away": HERE + (1 << 20), "farther": HERE + (1 << 40)})


# The assembler


@MACHINES
@pytest.mark.parametrize("distance", [0, 1, 120, 130, 40000])
def test_branches_reach_their_labels(machine: str, distance: int, tmp_path: Path) -> None:
    """Branches reach their labels over any distance, in both directions."""
    def source(program: Program) -> None:
        program.label("start")
        program.jump("end")
        for _ in range(distance // 4):
            program.subtract(A1, A2)
        program.jump_if(A0, "==", 0, "end")
        program.jump("start")
        program.label("end")
        program.jump_if(A0, "!=", 0, "start")
        program.trap()

    listing, _ = assemble(source, lean.MACHINES[machine], HERE, {})
    end = listing[-2 if machine == "aarch64" else -3].address
    jumps = [one.mnemonic.split()[-1] for one in listing if one.mnemonic[0] in "jbc" and "brk" not in one.mnemonic]
    assert jumps == [f"{end:#x}", f"{end:#x}", f"{HERE:#x}", f"{HERE:#x}"]
    assert [one[2] for one in disassemble(machine, b"".join(one.code for one in listing), HERE, tmp_path)] == \
        [normalise(one.mnemonic) for one in listing]


@pytest.mark.parametrize("source, words", [
    (lambda program: program.jump("nowhere"), "nowhere is not defined"),
    (lambda program: program.set(A0, "nothing"), "nothing is not defined"),
    (lambda program: (program.label("twice"), program.label("twice")), "twice is defined twice"),
    (lambda program: (program.label("base"), program.trap()), "base is defined twice"),
    (lambda program: (program.label("text"), program.data("text", b"")), "text is defined twice"),
    (lambda program: program.call("kill", 1, A0), "kill: argument 1 is overwritten"),
    (lambda program: program.call("kill", 1, RESULT), "kill: argument 1 is overwritten"),
    (lambda program: program.call("read", 0, 1, Address(A1, 8)), "read: argument 2 is overwritten"),
])
def test_mistakes_in_a_program(source: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        assemble(source, lean.MACHINES["x86_64"], HERE, {"base": 0})


@MACHINES
@pytest.mark.parametrize("program", list(SOURCES))
def test_each_system_call_is_made(machine: str, program: str) -> None:
    """Each machine has numbers for exactly the system calls that the programs make."""
    made = calls_of(program)
    assert set(made) <= set(lean.MACHINES[machine].CALLS)
    assert {name for each in SOURCES for name in calls_of(each)} == set(lean.MACHINES[machine].CALLS)
    listing, _ = lean.assemble_source(SOURCES[program], machine)
    assert sum(one.mnemonic in ("syscall", "svc 0x0") for one in listing) == len(made)


def calls_of(program: str) -> list[str]:
    """Return the system calls of a program in their order."""
    rows = Program()
    SOURCES[program](rows)
    return [row.name for row in rows.operations if isinstance(row, Call)]
