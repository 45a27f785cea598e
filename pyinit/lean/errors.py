"""Write one line about a system call that failed, in the same way in each lean program that does so."""

from __future__ import annotations

from collections.abc import Mapping

from .assembler import A0, A1, A2, S0, S1, S2, SP, Program
from .kernel import STDERR
from .macros import write_digits

# A message overwrites the stack: four struct iovec, a pointer and a length each, and the digits of a number.
PIECE, DIGITS = 16, 72


def explain(program: Program, reasons: Mapping[int, bytes]) -> None:
    """Find the text of the error S1, or make one of its number. A1 becomes the text, for complain(), which must follow.
    """
    program.label("explain")
    program.set(A0, 0)
    program.subtract(A0, S1)
    program.set(A1, program.data("reasons", b"".join(
        bytes([number]) + text + b"\n\0" for number, text in reasons.items()) + b"\0"))
    program.label("next_reason")
    program.load(A2, A1, 0, 1)
    program.add(A1, A1, 1)
    program.jump_if(A2, "==", A0, "complain")
    program.jump_if(A2, "==", 0, "unknown")
    program.label("skip_reason")
    program.load(A2, A1, 0, 1)
    program.add(A1, A1, 1)
    program.jump_if(A2, "!=", 0, "skip_reason")
    program.jump("next_reason")

    program.label("unknown")
    program.set(A2, ord("\n"))
    program.store(A2, SP, DIGITS)
    program.add(A1, SP, DIGITS)
    write_digits(program, "error_")
    program.set(A2, program.data("error_number", b"': error \0"))
    program.jump("pieces")


def complain(program: Program) -> None:
    """Write one line of three texts: S0, the name S2, and A1."""
    program.label("complain")
    program.set(A2, program.data("end_of_name", b"': \0"))
    program.label("pieces")
    program.store(S0, SP, 0)
    program.store(S2, SP, PIECE)
    program.store(A2, SP, 2 * PIECE)
    program.store(A1, SP, 3 * PIECE)
    program.copy(A1, SP)
    program.set(A2, 4)
    program.label("next_piece")
    program.load(A0, A1)
    program.copy(S0, A0)
    program.label("find_end")
    program.load(S1, S0, 0, 1)
    program.add(S0, S0, 1)
    program.jump_if(S1, "!=", 0, "find_end")
    program.subtract(S0, A0)
    program.add(S0, S0, -1)
    program.store(S0, A1, 8)
    program.add(A1, A1, PIECE)
    program.add(A2, A2, -1)
    program.jump_if(A2, "!=", 0, "next_piece")
    program.call("writev", STDERR, SP, 4)
