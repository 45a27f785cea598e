"""Writes the lean pause: a static program of a few hundred bytes that lets the kernel reap, for x86-64 and aarch64.

`pyinit-lean OUT` writes it. A process that ignores SIGCHLD has its children released by the kernel the instant they
exit, wait(2) NOTES, so that nothing is left to do but to wait for SIGTERM or SIGINT, and that needs no interpreter.

The program stands below as one table for each machine. A row is an instruction: its bytes, its mnemonic, and why it is
there; a string is a label for the row behind it. Where the bytes end in a word such as `imm32`, the operand that the
mnemonic names is put in there: a constant, a label, or a piece of the data; `NAME_size` is the size of such a piece. An
instruction of aarch64 is one word of 32 bits, and is given as that.
"""

from __future__ import annotations

import argparse
import os
import re
import struct
import sys
from typing import Callable, NamedTuple, Optional, Union

from . import __version__
from .destination import ToolError, check_destination, print_paths, resolve, write_file

# Signal numbers, signal(7), the same on both machines: <asm-generic/signal.h> and arch/x86/include/uapi/asm/signal.h.
SIGINT, SIGPIPE, SIGTERM, SIGCHLD, SIGTTOU, SIGXFSZ = 2, 13, 15, 17, 22, 25
# Blocked, and waited for. SIGTERM and SIGINT end the pause. SIGCHLD comes in spite of being ignored when a child ends
# that made the pause its tracer, ptrace(2): the kernel leaves that one a zombie, which is reaped then. The others are
# raised by a write of the pause itself, and would end or stop it unless it is PID 1: write(2), setrlimit(2),
# tcsetattr(3) TOSTOP.
WAITED = (SIGINT, SIGPIPE, SIGTERM, SIGCHLD, SIGTTOU, SIGXFSZ)

CONSTANTS = {
    "SIGCHLD": SIGCHLD, "SIGINT": SIGINT, "SIGTERM": SIGTERM,
    "SIG_BLOCK": 0, "SIG_IGN": 1,  # <asm-generic/signal-defs.h>
    "SIGSET_SIZE": 8,  # sizeof(sigset_t) of the kernel, 64 signals; not that of a C library
    # <linux/wait.h>: WNOHANG; __WALL, else a child of clone(2) is passed over whose exit signal is not SIGCHLD; and
    # __WCLONE, ignored beside __WALL, wait(2), which makes of the three an operand that fits into a word of aarch64.
    "ANY_NOHANG": 0xC0000001,
    "EINTR": 4, "-EINTR": -4,  # <asm-generic/errno-base.h>; a system call returns it negated, syscall(2)
    "STDOUT": 1, "STDERR": 2,  # stdin(3)
    "OPTION": int.from_bytes(b"-v\0", "little"),
    "CAPITAL": (ord("v") ^ ord("V")) << 8,  # the bit that makes -v of -V
}

# What lies behind the instructions, as unwritable as they are.
DATA = {
    "signals": sum(1 << number - 1 for number in WAITED).to_bytes(8, "little"),
    "version": b"pause.py %s\n" % __version__.encode(),
    "warning": b"Warning: pause should be the first process\n",
    "terminated": b"Shutting down, got signal: Terminated\n",
    "interrupted": b"Shutting down, got signal: Interrupt\n",
}

Program = tuple[Union[str, tuple[str, str, str]], ...]  # labels, and rows of (bytes, mnemonic, why)

# System calls: the number in eax; arguments in rdi, rsi, rdx, r10; the result in rax, an error negated; all other
# registers but rcx and r11 are kept, syscall(2). To write to the lower half of a register, such as eax, clears the
# upper one. At the start the stack holds argc, argv and a 0, AMD64 System V ABI 3.4.1.
X86_64: Program = (
    ("b8 imm32", "mov eax, rt_sigprocmask", "first of all: a signal that comes from now on is kept"),
    ("bf imm32", "mov edi, SIG_BLOCK", "beside those that are blocked already"),
    ("be imm32", "mov esi, signals", "the set"),
    ("31 d2", "xor edx, edx", "the old set is not asked for"),
    ("41 ba imm32", "mov r10d, SIGSET_SIZE", ""),
    ("0f 05", "syscall", ""),
    ("85 c0", "test eax, eax", ""),
    ("0f 85 rel32", "jne refused", "not blocked, a signal would be lost"),

    ("48 8b 74 24 10", "mov rsi, qword ptr [rsp+0x10]", "argv[1]"),
    ("48 85 f6", "test rsi, rsi", "is there one?"),
    ("74 rel8", "je pause", "no"),
    ("8b 06", "mov eax, dword ptr [rsi]", "4 bytes are there even of an empty one: execve(2) puts the path behind"),
    ("0d imm32", "or eax, CAPITAL", "-V is -v"),
    ("25 ff ff ff 00", "and eax, 0xffffff", "three bytes are the option and the 0 at its end"),
    ("3d imm32", "cmp eax, OPTION", ""),
    ("0f 84 rel32", "je show_version", ""),

    "pause",
    ("6a 00", "push 0", "a struct sigaction of the kernel, <linux/signal_types.h>, its end first: the mask"),
    ("6a 00", "push 0", "the restorer"),
    ("6a 00", "push 0", "the flags"),
    ("6a imm8", "push SIG_IGN", "the handler"),
    ("b8 imm32", "mov eax, rt_sigaction", "the kernel is to reap: edx and r10d are still 0 and SIGSET_SIZE"),
    ("bf imm32", "mov edi, SIGCHLD", ""),
    ("48 89 e6", "mov rsi, rsp", "the struct"),
    ("0f 05", "syscall", ""),
    ("85 c0", "test eax, eax", ""),
    ("75 rel8", "jne refused", "not ignored, each orphan would stay a zombie"),

    ("b8 imm32", "mov eax, getpid", ""),
    ("0f 05", "syscall", ""),
    ("83 f8 01", "cmp eax, 1", "PID 1 of its namespace is who adopts orphans"),
    ("74 rel8", "je reap", ""),
    ("b8 imm32", "mov eax, write", "else one warning, and it goes on, whether that could be written or not"),
    ("bf imm32", "mov edi, STDERR", ""),
    ("be imm32", "mov esi, warning", ""),
    ("ba imm32", "mov edx, warning_size", ""),
    ("0f 05", "syscall", ""),

    "reap",
    ("b8 imm32", "mov eax, wait4", "the zombies that were there before, and children that were traced"),
    ("bf ff ff ff ff", "mov edi, 0xffffffff", "-1: any child"),
    ("31 f6", "xor esi, esi", "the status is not asked for"),
    ("ba imm32", "mov edx, ANY_NOHANG", "those of clone(2) as well; do not wait for one that lives"),
    ("45 31 d2", "xor r10d, r10d", "the resource usage is not asked for"),
    ("0f 05", "syscall", ""),
    ("85 c0", "test eax, eax", "a PID; 0: all live; an error: no child"),
    ("7f rel8", "jg reap", "there may be one more"),

    ("b8 imm32", "mov eax, rt_sigtimedwait", "sleep until a signal of the set is there, and take it"),
    ("bf imm32", "mov edi, signals", "the set; esi is still 0: who sent it is not asked for"),
    ("31 d2", "xor edx, edx", "no timeout: an idle pause is never woken"),
    ("41 ba imm32", "mov r10d, SIGSET_SIZE", ""),
    ("0f 05", "syscall", ""),
    ("be imm32", "mov esi, terminated", ""),
    ("ba imm32", "mov edx, terminated_size", ""),
    ("83 f8 imm8", "cmp eax, SIGTERM", ""),
    ("74 rel8", "je end", ""),
    ("be imm32", "mov esi, interrupted", ""),
    ("ba imm32", "mov edx, interrupted_size", ""),
    ("83 f8 imm8", "cmp eax, SIGINT", ""),
    ("74 rel8", "je end", ""),
    ("85 c0", "test eax, eax", ""),
    ("7f rel8", "jg reap", "SIGCHLD, or one that a write has raised; 0 is of a sandbox, and would come again"),
    ("83 f8 imm8", "cmp eax, -EINTR", "stopped and continued, or a debugger came or went: signal(7)"),
    ("74 rel8", "je reap", "wait again"),

    "refused",
    ("bf 01 00 00 00", "mov edi, 1", "to go on would be to lose signals, to keep zombies, or to use a whole CPU"),
    ("eb rel8", "jmp exit", ""),

    "show_version",
    ("bf imm32", "mov edi, STDOUT", ""),
    ("be imm32", "mov esi, version", ""),
    ("ba imm32", "mov edx, version_size", ""),
    ("eb rel8", "jmp say", ""),

    "end",
    ("bf imm32", "mov edi, STDERR", ""),
    "say",
    ("b8 imm32", "mov eax, write", "the last line, whether that can be written or not"),
    ("0f 05", "syscall", ""),
    ("31 ff", "xor edi, edi", "exit code 0"),
    "exit",
    ("b8 imm32", "mov eax, exit_group", "does not return"),
    ("0f 05", "syscall", ""),
    ("0f 0b", "ud2", "unless a sandbox refuses it: SIGILL, which the kernel does not drop for PID 1 either"),
)

# System calls: the number in w8; arguments in x0 to x3; the result in x0, an error negated; all other registers are
# kept, syscall(2). To write to the lower half of a register, such as w0, clears the upper one. The stack is as above.
AARCH64: Program = (
    ("52800008 imm16", "mov w8, rt_sigprocmask", "first of all: a signal that comes from now on is kept"),
    ("52800000 imm16", "mov w0, SIG_BLOCK", "beside those that are blocked already"),
    ("10000001 adr21", "adr x1, signals", "the set"),
    ("d2800002", "mov x2, 0", "the old set is not asked for"),
    ("52800003 imm16", "mov w3, SIGSET_SIZE", ""),
    ("d4000001", "svc 0", ""),
    ("35000000 imm19", "cbnz w0, refused", "not blocked, a signal would be lost"),

    ("f9400be1", "ldr x1, [sp, 16]", "argv[1]"),
    ("b4000001 imm19", "cbz x1, pause", "there is none"),
    ("b9400020", "ldr w0, [x1]", "4 bytes are there even of an empty one: execve(2) puts the path behind"),
    ("32130000", "orr w0, w0, 0x2000", "-V is -v: CAPITAL"),
    ("12005c00", "and w0, w0, 0xffffff", "three bytes are the option and the 0 at its end"),
    ("52800001 imm16", "mov w1, OPTION", ""),
    ("6b01001f", "cmp w0, w1", ""),
    ("54000000 imm19", "b.eq show_version", ""),

    "pause",
    ("52800001 imm16", "mov w1, SIG_IGN", "a struct sigaction of the kernel, <linux/signal_types.h>: the handler"),
    ("a9bf7fff", "stp xzr, xzr, [sp, -16]!", "its end first: the restorer and the mask"),
    ("a9bf7fe1", "stp x1, xzr, [sp, -16]!", "the handler and the flags"),
    ("52800008 imm16", "mov w8, rt_sigaction", "the kernel is to reap: x2 and x3 are still 0 and SIGSET_SIZE"),
    ("52800000 imm16", "mov w0, SIGCHLD", ""),
    ("910003e1", "mov x1, sp", "the struct"),
    ("d4000001", "svc 0", ""),
    ("35000000 imm19", "cbnz w0, refused", "not ignored, each orphan would stay a zombie"),

    ("52800008 imm16", "mov w8, getpid", ""),
    ("d4000001", "svc 0", ""),
    ("7100041f", "cmp w0, 1", "PID 1 of its namespace is who adopts orphans"),
    ("54000000 imm19", "b.eq reap", ""),
    ("52800008 imm16", "mov w8, write", "else one warning, and it goes on, whether that could be written or not"),
    ("52800000 imm16", "mov w0, STDERR", ""),
    ("10000001 adr21", "adr x1, warning", ""),
    ("52800002 imm16", "mov w2, warning_size", ""),
    ("d4000001", "svc 0", ""),

    "reap",
    ("52800008 imm16", "mov w8, wait4", "the zombies that were there before, and children that were traced"),
    ("12800000", "mov w0, 0xffffffff", "-1: any child"),
    ("d2800001", "mov x1, 0", "the status is not asked for"),
    ("32020be2", "mov w2, ANY_NOHANG", "those of clone(2) as well; do not wait for one that lives"),
    ("d2800003", "mov x3, 0", "the resource usage is not asked for"),
    ("d4000001", "svc 0", ""),
    ("7100001f", "cmp w0, 0", "a PID; 0: all live; an error: no child"),
    ("5400000c imm19", "b.gt reap", "there may be one more"),

    ("52800008 imm16", "mov w8, rt_sigtimedwait", "sleep until a signal of the set is there, and take it"),
    ("10000000 adr21", "adr x0, signals", "the set; x1 is still 0: who sent it is not asked for"),
    ("d2800002", "mov x2, 0", "no timeout: an idle pause is never woken"),
    ("52800003 imm16", "mov w3, SIGSET_SIZE", ""),
    ("d4000001", "svc 0", ""),
    ("10000001 adr21", "adr x1, terminated", ""),
    ("52800002 imm16", "mov w2, terminated_size", ""),
    ("7100001f imm12", "cmp w0, SIGTERM", ""),
    ("54000000 imm19", "b.eq end", ""),
    ("10000001 adr21", "adr x1, interrupted", ""),
    ("52800002 imm16", "mov w2, interrupted_size", ""),
    ("7100001f imm12", "cmp w0, SIGINT", ""),
    ("54000000 imm19", "b.eq end", ""),
    ("7100001f", "cmp w0, 0", ""),
    ("5400000c imm19", "b.gt reap", "SIGCHLD, or one that a write has raised; 0 is of a sandbox, and would come again"),
    ("3100001f imm12", "cmn w0, EINTR", "stopped and continued, or a debugger came or went: signal(7)"),
    ("54000000 imm19", "b.eq reap", "wait again"),

    "refused",
    ("52800020", "mov w0, 1", "to go on would be to lose signals, to keep zombies, or to use a whole CPU"),
    ("14000000 imm26", "b exit", ""),

    "show_version",
    ("52800000 imm16", "mov w0, STDOUT", ""),
    ("10000001 adr21", "adr x1, version", ""),
    ("52800002 imm16", "mov w2, version_size", ""),
    ("14000000 imm26", "b say", ""),

    "end",
    ("52800000 imm16", "mov w0, STDERR", ""),
    "say",
    ("52800008 imm16", "mov w8, write", "the last line, whether that can be written or not"),
    ("d4000001", "svc 0", ""),
    ("52800000", "mov w0, 0", "exit code 0"),
    "exit",
    ("52800008 imm16", "mov w8, exit_group", "does not return"),
    ("d4000001", "svc 0", ""),
    ("d4200000", "brk 0", "unless a sandbox refuses it: SIGTRAP, which the kernel does not drop for PID 1 either"),
)


class Hole(NamedTuple):
    """A place for an operand: how many bytes it adds, and what it makes of (bytes so far, value, their address)."""

    size: int
    fill: Callable[[bytes, int, int], bytes]


class Machine(NamedTuple):
    """A kind of processor. number: e_machine of elf(5); calls: the numbers of the system calls."""

    number: int
    calls: dict[str, int]
    holes: dict[str, Hole]
    program: Program


class Instruction(NamedTuple):
    """An instruction in its place, with numbers for the names in its mnemonic."""

    address: int
    code: bytes
    mnemonic: str
    why: str


def fit(value: int, bits: int, signed: bool) -> int:
    """The value as a field of so many bits. Raises ValueError where it does not fit."""
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    if not low <= value < high:
        raise ValueError(f"{value} does not fit into {bits} bits")
    return value & (1 << bits) - 1


def follow(size: int, signed: bool, relative: bool = False) -> Hole:
    """A hole of x86: bytes that follow, relative to the end of the instruction for a jump."""
    def fill(code: bytes, value: int, address: int) -> bytes:
        base = address + len(code) + size if relative else 0
        return code + fit(value - base, 8 * size, signed).to_bytes(size, "little")

    return Hole(size, fill)


def insert(bits: int, shift: int, relative: bool = False) -> Hole:
    """A hole of aarch64: a field of the word; for a jump it is relative to the instruction, and counts words."""
    def fill(code: bytes, value: int, address: int) -> bytes:
        field = fit((value - address) // 4, bits, True) if relative else fit(value, bits, False)
        return (int.from_bytes(code, "little") | field << shift).to_bytes(4, "little")

    return Hole(0, fill)


def insert_address(code: bytes, value: int, address: int) -> bytes:
    """The hole of adr: the two lowest bits of the distance stand apart from the others."""
    field = fit(value - address, 21, True)
    return (int.from_bytes(code, "little") | (field & 3) << 29 | field >> 2 << 5).to_bytes(4, "little")


# e_machine: <linux/elf-em.h>. System calls: arch/x86/entry/syscalls/syscall_64.tbl and <asm-generic/unistd.h>. Fields:
# Intel's manual, volume 2, and Arm's Architecture Reference Manual, C6.2.
MACHINES = {
    "x86_64": Machine(
        62,
        {"write": 1, "rt_sigaction": 13, "rt_sigprocmask": 14, "getpid": 39, "wait4": 61, "rt_sigtimedwait": 128,
         "exit_group": 231},
        {"imm8": follow(1, True), "imm32": follow(4, False), "rel8": follow(1, True, relative=True),
         "rel32": follow(4, True, relative=True)},
        X86_64),
    "aarch64": Machine(
        183,
        {"write": 64, "exit_group": 94, "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigtimedwait": 137,
         "getpid": 172, "wait4": 260},
        {"imm12": insert(12, 10), "imm16": insert(16, 5), "adr21": Hole(0, insert_address),
         "imm19": insert(19, 5, relative=True), "imm26": insert(26, 0, relative=True)},
        AARCH64),
}

# elf(5). One segment holds the whole file, readable and executable; no other memory is the program's but the stack,
# which is not executable. It is aligned for the largest page of aarch64, 64 kB.
ELF_HEADER = struct.Struct("<4s5B7x2HI3QI6H")
PROGRAM_HEADER = struct.Struct("<2I6Q")
BASE, ALIGNMENT = 0x400000, 0x10000
ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_SYSV, ET_EXEC = 2, 1, 1, 0, 2
PT_LOAD, PT_GNU_STACK, PF_X, PF_W, PF_R = 1, 0x6474E551, 1, 2, 4
HEADERS_SIZE = ELF_HEADER.size + 2 * PROGRAM_HEADER.size
ENTRY = BASE + HEADERS_SIZE


def build(machine: str) -> bytes:
    """The lean pause for a machine, a key of MACHINES: the same bytes each time."""
    code = b"".join(instruction.code for instruction in assemble(machine))
    content = code + b"".join(DATA.values())
    size = HEADERS_SIZE + len(content)
    header = ELF_HEADER.pack(b"\x7fELF", ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_SYSV, 0, ET_EXEC,
                             MACHINES[machine].number, EV_CURRENT, ENTRY, ELF_HEADER.size, 0, 0, ELF_HEADER.size,
                             PROGRAM_HEADER.size, 2, 0, 0, 0)
    load = PROGRAM_HEADER.pack(PT_LOAD, PF_R | PF_X, 0, BASE, BASE, size, size, ALIGNMENT)
    stack = PROGRAM_HEADER.pack(PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0, 0, 16)
    return header + load + stack + content


def assemble(machine: str) -> list[Instruction]:
    """The instructions of a machine's program, each in its place."""
    _, calls, holes, program = MACHINES[machine]
    symbols = {**CONSTANTS, **calls, **place(program, holes)}
    address, instructions = ENTRY, []
    for row in program:
        if not isinstance(row, str):
            encoding, mnemonic, why = row
            code, hole = read_encoding(encoding, holes)
            words = re.split(r"(-?\w+)", mnemonic)
            if hole:
                code = hole.fill(code, next(symbols[word] for word in words if word in symbols), address)
            numbers = "".join(hex(symbols[word]) if word in symbols else word for word in words)
            instructions.append(Instruction(address, code, numbers, why))
            address += len(code)
    return instructions


def place(program: Program, holes: dict[str, Hole]) -> dict[str, int]:
    """The address of each label and of each piece of data, and the sizes of these."""
    symbols, size = {}, 0
    for row in program:
        if isinstance(row, str):
            symbols[row] = ENTRY + size
        else:
            code, hole = read_encoding(row[0], holes)
            size += len(code) + (hole.size if hole else 0)
    for name, content in DATA.items():
        symbols[name], symbols[f"{name}_size"] = ENTRY + size, len(content)
        size += len(content)
    return symbols


def read_encoding(encoding: str, holes: dict[str, Hole]) -> tuple[bytes, Optional[Hole]]:
    """The bytes of a row, and the hole behind them if there is one. A word is given as a number: its low byte first."""
    *fixed, last = encoding.split()
    hole = holes.get(last)
    return b"".join(bytes.fromhex(word)[::-1] for word in (fixed if hole else [*fixed, last])), hole


def main() -> int:
    """The command line: print what was written and return 0, or say what was wrong and return 1."""
    parser = argparse.ArgumentParser(prog="pyinit-lean", description="Write the lean pause: a static program of a few "
                                     "hundred bytes, for which the kernel reaps.")
    parser.add_argument("out", metavar="OUT", help="the path of the program")
    parser.add_argument("--machine", default=os.uname().machine,
                        help=f"{' or '.join(MACHINES)} (default: this machine, %(default)s)")
    arguments = parser.parse_args()
    try:
        if arguments.machine not in MACHINES:
            raise ToolError(f"--machine {arguments.machine!r}: expected {' or '.join(MACHINES)}")
        path = resolve(arguments.out, "the program itself")
        check_destination(path, "the program itself")
        write_file(path, build(arguments.machine), 0o755)
        print_paths([path])
    except ToolError as error:
        print(f"pyinit-lean: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
