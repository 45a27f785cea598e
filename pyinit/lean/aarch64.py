"""The encoder for aarch64: Arm's Architecture Reference Manual, C6.2. An instruction is one word of 32 bits.

A write to the lower half of a register, such as w0, clears the upper one. A system call has its number in w8 and its
result in x0. x9 holds a constant that does not fit into an instruction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Optional

from .assembler import (Add, Branch, Call, Jump, Load, Mask, Operation, Piece, Register, Set, Shift, Store, Subtract,
                        Trap, fit, resolve)

NUMBER = 183  # EM_AARCH64, <linux/elf-em.h>

# <asm-generic/unistd.h>
CALLS = {
    "ioctl": 29, "unlinkat": 35, "openat": 56, "close": 57, "pipe2": 59, "lseek": 62, "read": 63, "write": 64,
    "writev": 66, "exit_group": 94, "nanosleep": 101, "ptrace": 117, "kill": 129, "rt_sigaction": 134,
    "rt_sigprocmask": 135, "rt_sigtimedwait": 137, "setpgid": 154, "getpgid": 155, "umask": 166, "prctl": 167,
    "getpid": 172, "getppid": 173, "clone": 220, "execve": 221, "wait4": 260,
}

# In the order of Register: x0 to x5, x19 to x24, which a function would have to keep, x0, and sp.
NUMBERS = dict(zip(Register, (0, 1, 2, 3, 4, 5, 19, 20, 21, 22, 23, 24, 0, 31)))
CALL_NUMBER, SCRATCH, SP = 8, 9, 31
CONDITIONS = {"==": (0, "eq"), "!=": (1, "ne"), ">=": (10, "ge"), "<": (11, "lt"), ">": (12, "gt"), "<=": (13, "le")}


def encode(operation: Operation, address: int, symbols: Mapping[str, int]) -> Sequence[Piece]:
    """Return the instructions of an operation at an address. Raises ValueError for an operand that does not fit."""
    return ENCODERS[type(operation)](operation, address, symbols)


def encode_set(operation: Set, address: int, symbols: Mapping[str, int]) -> list[Piece]:
    """Encode register = value: adr for the address of a symbol, else set_number()."""
    register, value = NUMBERS[operation.register], resolve(operation.value, symbols)
    if isinstance(operation.value, str):
        # The two lowest bits of the distance stand apart from the others.
        distance = fit(value - address, 21, signed=True)
        return [word(0x10000000 | (distance & 3) << 29 | distance >> 2 << 5 | register, f"adr x{register}, {value:#x}")]
    return set_number(register, value)


def set_number(register: int, value: int) -> list[Piece]:
    """Put a constant into a register, by one instruction if that can hold it, else 16 bits at a time."""
    fit(value, 65, signed=True)
    wide = not 0 <= value < 1 << 32
    size, value = ("x", value % (1 << 64)) if wide else ("w", value)
    parts, others = split(value), split(~value % (1 << (64 if wide else 32)))
    (place, part), *rest = parts
    if len(others) == 1 < len(parts):
        (place, part), = others
        code = 0x12800000 | wide << 31 | place << 21 | part << 5 | register
        return [word(code, f"mov {size}{register}, {show(value)}")]
    field = None if wide else bitmask(value)
    if rest and field is not None:  # orr with the register that is always 0
        return [word(0x320003E0 | field << 10 | register, f"mov w{register}, {show(value)}")]
    pieces = [word(0x52800000 | wide << 31 | place << 21 | part << 5 | register,
                   f"mov {size}{register}, {show(part << 16 * place)}")]
    for place, part in rest:
        pieces.append(word(0x72800000 | wide << 31 | place << 21 | part << 5 | register,
                           f"movk {size}{register}, {show(part)}, lsl {16 * place}"))
    return pieces


def split(value: int) -> list[tuple[int, int]]:
    """Return (place, 16 bits) for each place of a constant whose bits are not 0, or the lowest one if all are 0."""
    return [(place, value >> 16 * place & 0xFFFF) for place in range(4) if value >> 16 * place & 0xFFFF] or [(0, 0)]


def bitmask(value: int) -> Optional[int]:
    """Return the field N:immr:imms of a constant of 32 bits that is one run of ones, rotated; None for any other."""
    for length in range(1, 32):
        for rotation in range(32):
            ones = (1 << length) - 1
            if value == (ones >> rotation | ones << 32 - rotation) & 0xFFFFFFFF:
                return rotation << 6 | length - 1
    return None


def encode_add(operation: Add, *_: object) -> list[Piece]:
    """Encode target = source + constant: mov for the constant 0, else add or sub, each of 12 bits."""
    target, source, constant = NUMBERS[operation.target], NUMBERS[operation.source], operation.constant
    if constant == 0:
        if target == source:
            return []
        if SP in (target, source):  # add 0: 31 is sp there, and the register that is always 0 elsewhere
            return [word(0x91000000 | source << 5 | target, f"mov {name(target)}, {name(source)}")]
        return [word(0xAA0003E0 | source << 16 | target, f"mov x{target}, x{source}")]
    code, verb = (0x91000000, "add") if constant > 0 else (0xD1000000, "sub")
    high, low = fit(abs(constant), 24) >> 12, abs(constant) & 0xFFF
    pieces = []
    if high:
        pieces.append(word(code | 1 << 22 | high << 10 | source << 5 | target,
                           f"{verb} {name(target)}, {name(source)}, {show(high)}, lsl 12"))
        source = target
    if low:
        pieces.append(word(code | low << 10 | source << 5 | target,
                           f"{verb} {name(target)}, {name(source)}, {show(low)}"))
    return pieces


def encode_subtract(operation: Subtract, *_: object) -> list[Piece]:
    """Encode target -= source."""
    target, source = NUMBERS[operation.target], NUMBERS[operation.source]
    return [word(0xCB000000 | source << 16 | target << 5 | target, f"sub x{target}, x{target}, x{source}")]


def encode_mask(operation: Mask, *_: object) -> list[Piece]:
    """Encode register &= constant. Raises ValueError unless the constant is one run of ones."""
    register, field = NUMBERS[operation.register], bitmask(operation.constant)
    if field is None:
        raise ValueError(f"{operation.constant:#x} is not one run of ones")
    return [word(0x12000000 | field << 10 | register << 5 | register,
                 f"and w{register}, w{register}, {show(operation.constant)}")]


def encode_shift(operation: Shift, *_: object) -> list[Piece]:
    """Encode register >>= bits."""
    register, count = NUMBERS[operation.register], fit(operation.bits, 5)
    return [word(0x53007C00 | count << 16 | register << 5 | register, f"lsr w{register}, w{register}, {count}")]


def encode_load(operation: Load, *_: object) -> list[Piece]:
    """Encode a load."""
    return [move("ldr", {8: 0xF9400000, 4: 0xB9400000, 1: 0x39400000}[operation.size], operation)]


def encode_store(operation: Store, *_: object) -> list[Piece]:
    """Encode a store."""
    return [move("str", {8: 0xF9000000, 4: 0xB9000000, 1: 0x39000000}[operation.size], operation)]


def move(verb: str, code: int, operation: Load | Store) -> Piece:
    """Return a load or a store. Its offset counts units of the size and has no sign; any other offset is short, counts
    bytes, and has a sign.
    """
    register, base, size = NUMBERS[operation.register], NUMBERS[operation.base], operation.size
    target = f"{'x' if size == 8 else 'w'}{register}, "
    place = f"[{name(base)}, {operation.offset}]" if operation.offset else f"[{name(base)}]"
    last = "b" if size == 1 else ""
    count, rest = divmod(operation.offset, size)
    if rest or count < 0:
        code ^= 1 << 24
        return word(code | fit(operation.offset, 9, signed=True) << 12 | base << 5 | register,
                    f"{verb[:2]}u{verb[2:]}{last} {target}{place}")
    return word(code | fit(count, 12) << 10 | base << 5 | register, f"{verb}{last} {target}{place}")


def encode_branch(operation: Branch, address: int, symbols: Mapping[str, int]) -> list[Piece]:
    """Encode a comparison and a conditional jump; a comparison with 0 is one instruction with its jump."""
    left, right, target, wide = NUMBERS[operation.left], operation.right, symbols[operation.label], operation.wide
    size = "x" if wide else "w"
    if right == 0 and operation.condition in ("==", "!="):
        code, verb = (0x34000000, "cbz") if operation.condition == "==" else (0x35000000, "cbnz")
        return [word(code | wide << 31 | leap(target, address, 19) << 5 | left, f"{verb} {size}{left}, {target:#x}")]
    if right == 0 and operation.condition in ("<", ">="):  # the sign
        code, verb = (0x37F80000, "tbnz") if operation.condition == "<" else (0x36F80000, "tbz")
        return [word(code | wide << 31 | leap(target, address, 14) << 5 | left,
                     f"{verb} {size}{left}, {63 if wide else 31}, {target:#x}")]
    pieces = compare(left, right, wide)
    code, suffix = CONDITIONS[operation.condition]
    address += sum(len(piece[0]) for piece in pieces)
    return [*pieces, word(0x54000000 | leap(target, address, 19) << 5 | code, f"b.{suffix} {target:#x}")]


def compare(left: int, right: int | Register, wide: bool) -> list[Piece]:
    """Set the flags: subtract, and discard the result."""
    size = "x" if wide else "w"
    if not isinstance(right, Register):
        if 0 <= right < 1 << 12:
            return [word(0x7100001F | wide << 31 | right << 10 | left << 5, f"cmp {size}{left}, {show(right)}")]
        if -1 << 12 < right < 0:
            return [word(0x3100001F | wide << 31 | -right << 10 | left << 5, f"cmn {size}{left}, {show(-right)}")]
        pieces, number = set_number(SCRATCH, right), SCRATCH
    else:
        pieces, number = [], NUMBERS[right]
    return [*pieces, word(0x6B00001F | wide << 31 | number << 16 | left << 5, f"cmp {size}{left}, {size}{number}")]


def encode_jump(operation: Jump, address: int, symbols: Mapping[str, int]) -> list[Piece]:
    """Encode a jump."""
    target = symbols[operation.label]
    return [word(0x14000000 | leap(target, address, 26), f"b {target:#x}")]


def encode_call(operation: Call, *_: object) -> list[Piece]:
    """Encode a system call: its number goes into w8, syscall(2)."""
    return [*set_number(CALL_NUMBER, CALLS[operation.name]), word(0xD4000001, "svc 0x0")]


def encode_trap(_operation: Trap, *_: object) -> list[Piece]:
    """Encode brk, which raises SIGTRAP."""
    return [word(0xD4200000, "brk 0x0")]


ENCODERS: dict[type, Callable[..., Sequence[Piece]]] = {
    Set: encode_set, Add: encode_add, Subtract: encode_subtract, Mask: encode_mask, Shift: encode_shift,
    Load: encode_load, Store: encode_store, Branch: encode_branch, Jump: encode_jump, Call: encode_call,
    Trap: encode_trap}


def leap(target: int, address: int, bits: int) -> int:
    """Return the distance of a jump from its own address, in words. Raises ValueError if it does not fit."""
    return fit((target - address) // 4, bits, signed=True)


def word(code: int, mnemonic: str) -> Piece:
    """Return an instruction, its lowest byte first."""
    return code.to_bytes(4, "little"), mnemonic


def name(register: int) -> str:
    """Return the name of a register, for an operand in which 31 is the stack pointer."""
    return "sp" if register == SP else f"x{register}"


def show(value: int) -> str:
    """Return a number as objdump shows it: without a sign."""
    return f"{value % (1 << 64):#x}"
