"""The portable instruction set of the lean programs, and the assembler that puts a program into its place.

A program is a function that calls the methods of a Program. One call is one operation, and a machine's encoder makes
one instruction of it, or two if the machine has no such instruction. The rules are those of a system call, syscall(2):

- Registers have 64 bits. A0 to A5 are the arguments of a system call, and RESULT is its result, an error negated. S0 to
  S5 are the program's own. SP is the stack pointer, a multiple of 16.
- A system call keeps every register but RESULT and A0, which are one register on some machines. So `call` refuses
  RESULT as an argument that is not the first.
- mask, shift and a load of less than 8 bytes clear the upper 32 bits.
- A comparison is signed and of the lower 32 bits, unless it is wide: addresses that may be 0 need that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple, Protocol, Union


class Register(Enum):
    """A virtual register; each encoder maps it to one of its machine's."""

    A0, A1, A2, A3, A4, A5 = range(6)
    S0, S1, S2, S3, S4, S5 = range(6, 12)
    RESULT, SP = range(12, 14)


A0, A1, A2, A3, A4, A5, S0, S1, S2, S3, S4, S5, RESULT, SP = Register
ARGUMENTS = (A0, A1, A2, A3, A4, A5)


class Set(NamedTuple):
    """register = value, a constant or the address of a symbol."""

    register: Register
    value: Union[int, str]


class Add(NamedTuple):
    """target = source + constant; with the constant 0 a copy."""

    target: Register
    source: Register
    constant: int


class Subtract(NamedTuple):
    """target -= source."""

    target: Register
    source: Register


class Mask(NamedTuple):
    """register &= constant, of 32 bits."""

    register: Register
    constant: int


class Shift(NamedTuple):
    """register >>= bits, of 32 bits and without a sign."""

    register: Register
    bits: int


class Load(NamedTuple):
    """register = the 1, 4 or 8 bytes at base + offset."""

    register: Register
    base: Register
    offset: int
    size: int


class Store(NamedTuple):
    """The 1, 4 or 8 bytes at base + offset = register."""

    register: Register
    base: Register
    offset: int
    size: int


class Branch(NamedTuple):
    """Go to a label if the condition holds of a register and a constant or another register."""

    left: Register
    condition: str
    right: Union[int, Register]
    label: str
    wide: bool


class Jump(NamedTuple):
    """Go to a label."""

    label: str


class Call(NamedTuple):
    """Make the system call of that name with what is in the argument registers."""

    name: str


class Trap(NamedTuple):
    """End the process by a signal that also ends PID 1."""


class Label(NamedTuple):
    """A name for the operation behind it."""

    name: str


class Data(NamedTuple):
    """Bytes, and a name for their address."""

    name: str
    content: bytes


Operation = Union[Set, Add, Subtract, Mask, Shift, Load, Store, Branch, Jump, Call, Trap, Label, Data]
Piece = tuple[bytes, str]  # an instruction: its bytes, and its mnemonic as a disassembler would show it


class Address(NamedTuple):
    """An argument of a system call: base + offset."""

    base: Register
    offset: int


Argument = Union[int, str, Register, Address, None]


class Encoder(Protocol):
    """What the assembler has to know of a machine."""

    NUMBER: int  # e_machine of elf(5)
    CALLS: Mapping[str, int]  # the numbers of the system calls

    def encode(self, operation: Operation, address: int, symbols: Mapping[str, int]) -> Sequence[Piece]:
        """Return the instructions of an operation at an address. Raises ValueError for an operand that does not fit."""


class Program:
    """A program that is being written: each method appends an operation, or a few."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.texts: list[Data] = []

    def label(self, name: str) -> None:
        """Name the next operation."""
        self.operations.append(Label(name))

    def data(self, name: str, content: bytes) -> str:
        """Put bytes behind the instructions; return their name."""
        self.texts.append(Data(name, content))
        return name

    def set(self, register: Register, value: Union[int, str]) -> None:
        """register = value, a constant or the address of a symbol."""
        self.operations.append(Set(register, value))

    def copy(self, target: Register, source: Register) -> None:
        """target = source."""
        self.operations.append(Add(target, source, 0))

    def add(self, target: Register, source: Register, constant: int) -> None:
        """target = source + constant."""
        self.operations.append(Add(target, source, constant))

    def subtract(self, target: Register, source: Register) -> None:
        """target -= source."""
        self.operations.append(Subtract(target, source))

    def mask(self, register: Register, constant: int) -> None:
        """register &= constant."""
        self.operations.append(Mask(register, constant))

    def shift(self, register: Register, count: int) -> None:
        """register >>= count."""
        self.operations.append(Shift(register, count))

    def load(self, register: Register, base: Register, offset: int = 0, size: int = 8) -> None:
        """register = the bytes at base + offset."""
        self.operations.append(Load(register, base, offset, size))

    def store(self, register: Register, base: Register, offset: int = 0, size: int = 8) -> None:
        """The bytes at base + offset = register."""
        self.operations.append(Store(register, base, offset, size))

    def jump_if(self, left: Register, condition: str, right: Union[int, Register], label: str,
                wide: bool = False) -> None:
        """Go to a label if the condition, such as "==", holds."""
        self.operations.append(Branch(left, condition, right, label, wide))

    def jump(self, label: str) -> None:
        """Go to a label."""
        self.operations.append(Jump(label))

    def trap(self) -> None:
        """End by a signal."""
        self.operations.append(Trap())

    def call(self, name: str, *arguments: Argument) -> None:
        """Make a system call. None as an argument leaves what is in its register.

        Raises ValueError for an argument that an earlier one has overwritten.
        """
        for place, argument in enumerate(arguments):
            register = ARGUMENTS[place]
            source = argument.base if isinstance(argument, Address) else argument
            if source in ARGUMENTS[:place] or source is RESULT and place:
                raise ValueError(f"{name}: argument {place} is overwritten before it is read")
            if isinstance(argument, Address):
                self.add(register, argument.base, argument.offset)
            elif isinstance(argument, Register):
                self.copy(register, argument)
            elif argument is not None:
                self.set(register, argument)
        self.operations.append(Call(name))


class Instruction(NamedTuple):
    """An instruction in its place."""

    address: int
    code: bytes
    mnemonic: str


Source = Callable[[Program], None]


def assemble(source: Source, encoder: Encoder, start: int,
             symbols: Mapping[str, int]) -> tuple[list[Instruction], bytes]:
    """Return a program's instructions, placed from the address `start` on, and the data that follow them.

    symbols: addresses outside of the program. Raises ValueError for a name that is not defined, or twice.
    """
    program = Program()
    source(program)
    operations = program.operations
    check_names([*operations, *program.texts], symbols)
    # A branch is short at first and grows if its label turns out to be too far. That only moves other labels further
    # away, so nothing ever shrinks, and this ends.
    places = dict.fromkeys((row.name for row in [*operations, *program.texts] if isinstance(row, (Label, Data))), start)
    while True:
        pieces, found, address = [], {}, start
        for operation in operations:
            if isinstance(operation, Label):
                found[operation.name] = address
                continue
            for code, mnemonic in encoder.encode(operation, address, {**symbols, **places}):
                pieces.append(Instruction(address, code, mnemonic))
                address += len(code)
        for text in program.texts:
            found[text.name] = address
            address += len(text.content)
        if found == places:
            return pieces, b"".join(text.content for text in program.texts)
        places = found


def check_names(operations: Sequence[Operation], symbols: Mapping[str, int]) -> None:
    """Raise ValueError unless each name that is used is defined, and no name is defined twice."""
    names = [*symbols, *(row.name for row in operations if isinstance(row, (Label, Data)))]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name} is defined twice")
    for name in list_uses(operations):
        if name not in names:
            raise ValueError(f"{name} is not defined")


def list_uses(operations: Sequence[Operation]) -> Iterator[str]:
    """Yield the names that operations refer to."""
    for row in operations:
        if isinstance(row, (Branch, Jump)):
            yield row.label
        elif isinstance(row, Set) and isinstance(row.value, str):
            yield row.value


def fit(value: int, bits: int, signed: bool = False) -> int:
    """Return the value as a field of so many bits. Raises ValueError if it does not fit."""
    low, high = (-(1 << bits - 1), 1 << bits - 1) if signed else (0, 1 << bits)
    if not low <= value < high:
        raise ValueError(f"{value} does not fit into {bits} bits")
    return value & (1 << bits) - 1


def fits(value: int, bits: int) -> bool:
    """Return whether a signed value fits into so many bits."""
    return -(1 << bits - 1) <= value < 1 << bits - 1


def resolve(value: Union[int, str], symbols: Mapping[str, int]) -> int:
    """Return a constant as it is, or the address of a symbol."""
    return symbols[value] if isinstance(value, str) else value
