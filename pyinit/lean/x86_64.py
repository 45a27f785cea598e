"""The encoder for x86-64: Intel's manual, volume 2.

A write to the lower half of a register, such as eax, clears the upper one. The encoder uses the shortest form of an
instruction. A system call has its number in rax, and destroys rcx and r11, which are therefore not used.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .assembler import (Add, Branch, Call, Jump, Load, Mask, Operation, Piece, Register, Set, Shift, Store, Subtract,
                        Trap, fit, fits, resolve)

NUMBER = 62  # EM_X86_64, <linux/elf-em.h>

# arch/x86/entry/syscalls/syscall_64.tbl
CALLS = {
    "read": 0, "write": 1, "close": 3, "lseek": 8, "rt_sigaction": 13, "rt_sigprocmask": 14, "ioctl": 16,
    "writev": 20, "nanosleep": 35, "getpid": 39, "clone": 56, "execve": 59, "wait4": 61, "kill": 62, "umask": 95,
    "ptrace": 101, "setpgid": 109, "getppid": 110, "getpgid": 121, "rt_sigtimedwait": 128, "prctl": 157,
    "exit_group": 231, "openat": 257, "unlinkat": 263, "pipe2": 293,
}

# The processor's number of each register, in the order of Register. RESULT is rax, which also has a call's number.
NUMBERS = dict(zip(Register, (7, 6, 2, 10, 8, 9, 3, 5, 12, 13, 14, 15, 0, 4)))
NAMES = {
    8: ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{number}" for number in range(8, 16))),
    4: ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", *(f"r{number}d" for number in range(8, 16))),
    1: ("al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil", *(f"r{number}b" for number in range(8, 16))),
}
RAX = 0
CONDITIONS = {"==": (4, "e"), "!=": (5, "ne"), "<": (12, "l"), ">=": (13, "ge"), "<=": (14, "le"), ">": (15, "g")}


def encode(operation: Operation, address: int, symbols: Mapping[str, int]) -> Sequence[Piece]:
    """Return the instructions of an operation at an address. Raises ValueError for an operand that does not fit."""
    return ENCODERS[type(operation)](operation, address, symbols)


def encode_set(operation: Set, _address: int, symbols: Mapping[str, int]) -> list[Piece]:
    """Encode register = value."""
    is_symbol = isinstance(operation.value, str)
    return set_number(NUMBERS[operation.register], resolve(operation.value, symbols), is_symbol)


def set_number(register: int, value: int, is_symbol: bool = False) -> list[Piece]:
    """Put a constant into a register. A symbol always has the same form: its value is not known from the beginning."""
    name, half = NAMES[8][register], NAMES[4][register]
    low = register & 7
    if value == 0 and not is_symbol:
        return [instruction(f"xor {half},{half}", b"\x31", register, register)]
    if fits(value, 8) and not is_symbol:  # shorter than a mov; what it overwrites is below the stack pointer
        return [(b"\x6a" + number(value, 1), f"push {show(value)}"),
                (prefix(0, 0, register) + bytes([0x58 | low]), f"pop {name}")]
    if 0 <= value < 1 << 32:
        return [(prefix(0, 0, register) + bytes([0xB8 | low]) + value.to_bytes(4, "little"),
                 f"mov {half},{show(value)}")]
    if fits(value, 32):
        return [instruction(f"mov {name},{show(value)}", b"\xc7", 0, register, wide=True, tail=number(value, 4))]
    return [(prefix(1, 0, register) + bytes([0xB8 | low]) + (value % (1 << 64)).to_bytes(8, "little"),
             f"movabs {name},{show(value)}")]


def encode_add(operation: Add, *_: object) -> list[Piece]:
    """Encode target = source + constant: inc, dec, add or mov where one of them fits, else lea."""
    target, source, constant = NUMBERS[operation.target], NUMBERS[operation.source], operation.constant
    name = NAMES[8][target]
    if target == source:
        if constant in (1, -1):
            verb, extension = ("inc", 0) if constant == 1 else ("dec", 1)
            return [instruction(f"{verb} {name}", b"\xff", extension, target, wide=True)]
        return [arithmetic("add", 0, target, constant)] if constant else []
    if constant == 0:
        return [instruction(f"mov {name},{NAMES[8][source]}", b"\x89", source, target, wide=True)]
    code, text = memory(b"\x8d", target, source, constant, wide=True)
    return [(code, f"lea {name},{text}")]


def encode_subtract(operation: Subtract, *_: object) -> list[Piece]:
    """Encode target -= source."""
    target, source = NUMBERS[operation.target], NUMBERS[operation.source]
    return [instruction(f"sub {NAMES[8][target]},{NAMES[8][source]}", b"\x29", source, target, wide=True)]


def encode_mask(operation: Mask, *_: object) -> list[Piece]:
    """Encode register &= constant; `and` takes the constant with a sign."""
    constant = fit(operation.constant, 32)
    return [arithmetic("and", 4, NUMBERS[operation.register], constant - (constant >> 31 << 32), wide=False)]


def encode_shift(operation: Shift, *_: object) -> list[Piece]:
    """Encode register >>= bits."""
    register, count = NUMBERS[operation.register], fit(operation.bits, 5)
    return [instruction(f"shr {NAMES[4][register]},{show(count)}", b"\xc1", 5, register, tail=bytes([count]))]


def encode_load(operation: Load, *_: object) -> list[Piece]:
    """Encode a load; one of 4 bytes clears the upper half by itself, one of a byte needs movzx."""
    register, size = NUMBERS[operation.register], operation.size
    opcode = b"\x0f\xb6" if size == 1 else b"\x8b"  # movzx
    code, text = memory(opcode, register, NUMBERS[operation.base], operation.offset, wide=size == 8)
    verb, name = ("movzx", NAMES[4][register]) if size == 1 else ("mov", NAMES[size][register])
    return [(code, f"{verb} {name},{POINTERS[size]} {text}")]


def encode_store(operation: Store, *_: object) -> list[Piece]:
    """Encode a store."""
    register, size = NUMBERS[operation.register], operation.size
    code, text = memory(b"\x88" if size == 1 else b"\x89", register, NUMBERS[operation.base], operation.offset,
                        wide=size == 8, byte=size == 1)
    return [(code, f"mov {POINTERS[size]} {text},{NAMES[size][register]}")]


def encode_branch(operation: Branch, address: int, symbols: Mapping[str, int]) -> list[Piece]:
    """Encode a comparison and a conditional jump: test for the constant 0, else cmp."""
    left, wide = NUMBERS[operation.left], operation.wide
    code, suffix = CONDITIONS[operation.condition]
    names = NAMES[8 if wide else 4]
    if isinstance(operation.right, Register):
        right = NUMBERS[operation.right]
        compare = instruction(f"cmp {names[left]},{names[right]}", b"\x39", right, left, wide)
    elif operation.right == 0:
        compare = instruction(f"test {names[left]},{names[left]}", b"\x85", left, left, wide)
    else:
        compare = arithmetic("cmp", 7, left, operation.right, wide)
    address += len(compare[0])
    return [compare, leap(f"j{suffix}", bytes([0x70 | code]), bytes([0x0F, 0x80 | code]), symbols[operation.label],
                          address)]


def encode_jump(operation: Jump, address: int, symbols: Mapping[str, int]) -> list[Piece]:
    """Encode a jump."""
    return [leap("jmp", b"\xeb", b"\xe9", symbols[operation.label], address)]


def encode_call(operation: Call, *_: object) -> list[Piece]:
    """Encode a system call: its number goes into rax, syscall(2)."""
    return [*set_number(RAX, CALLS[operation.name]), (b"\x0f\x05", "syscall")]


def encode_trap(_operation: Trap, *_: object) -> list[Piece]:
    """Encode ud2, which raises SIGILL."""
    return [(b"\x0f\x0b", "ud2")]


ENCODERS: dict[type, Callable[..., Sequence[Piece]]] = {
    Set: encode_set, Add: encode_add, Subtract: encode_subtract, Mask: encode_mask, Shift: encode_shift,
    Load: encode_load, Store: encode_store, Branch: encode_branch, Jump: encode_jump, Call: encode_call,
    Trap: encode_trap}
POINTERS = {8: "QWORD PTR", 4: "DWORD PTR", 1: "BYTE PTR"}


def instruction(mnemonic: str, opcode: bytes, field: int, register: int, wide: bool = False,
                tail: bytes = b"") -> Piece:
    """Return an instruction whose ModR/M byte names two registers, or a register and an extension of the opcode."""
    code = prefix(wide, field, register) + opcode + bytes([0xC0 | (field & 7) << 3 | register & 7])
    return code + tail, mnemonic


def arithmetic(verb: str, extension: int, register: int, constant: int, wide: bool = True) -> Piece:
    """Return add, and or cmp with a constant, of one byte if it fits. rax has a form of its own for longer ones."""
    name = NAMES[8 if wide else 4][register]
    text = f"{verb} {name},{show(constant, 64 if wide else 32)}"
    if fits(constant, 8):
        return instruction(text, b"\x83", extension, register, wide, number(constant, 1))
    if register == RAX:
        return prefix(wide, 0, 0) + bytes([extension << 3 | 5]) + number(constant, 4), text
    return instruction(text, b"\x81", extension, register, wide, number(constant, 4))


def memory(opcode: bytes, register: int, base: int, offset: int, wide: bool = False,
           byte: bool = False) -> tuple[bytes, str]:
    """Return the bytes of an instruction with a register and a place in memory, and that place as text."""
    short = fits(offset, 8)
    # A base of 4 or 12 means that one more byte follows, SIB; one of 5 or 13 without an offset means another address.
    sib = b"\x24" if base & 7 == 4 else b""
    if offset == 0 and base & 7 != 5:
        mode, tail = 0x00, b""
    else:
        mode, tail = (0x40, number(offset, 1)) if short else (0x80, number(offset, 4))
    start = prefix(wide, register, base) or (b"\x40" if byte and register & 7 > 3 else b"")  # else ah, ch, dh, bh
    code = start + opcode + bytes([mode | (register & 7) << 3 | base & 7]) + sib + tail
    return code, f"[{NAMES[8][base]}{f'{offset:+#x}' if tail else ''}]"


def leap(verb: str, short: bytes, long: bytes, target: int, address: int) -> Piece:
    """Return a jump. Its distance counts from its end, and has one byte if the target is near."""
    distance = target - (address + len(short) + 1)
    if fits(distance, 8):
        return short + number(distance, 1), f"{verb} {target:#x}"
    return long + number(target - (address + len(long) + 4), 4), f"{verb} {target:#x}"


def prefix(wide: int, field: int, register: int) -> bytes:
    """Return the REX prefix, which says 64 bits or one of the registers from r8 on; empty if it says neither."""
    bits = wide << 3 | (field >> 3) << 2 | register >> 3
    return bytes([0x40 | bits]) if bits else b""


def number(value: int, size: int) -> bytes:
    """Return a signed number of so many bytes. Raises ValueError if it does not fit."""
    return fit(value, 8 * size, signed=True).to_bytes(size, "little")


def show(value: int, bits: int = 64) -> str:
    """Return a number as objdump shows it: without a sign."""
    return f"{value % (1 << bits):#x}"
