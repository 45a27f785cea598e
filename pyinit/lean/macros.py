"""Sequences of operations that several lean programs share."""

from __future__ import annotations

from .assembler import A0, A1, A2, S1, Program


def pass_over_arguments(program: Program) -> None:
    """Move S1 from an entry of argv behind the 0 that ends it, which is where the environment is. Overwrites A1."""
    program.label("pass_over_arguments")
    program.load(A1, S1)
    program.add(S1, S1, 8)
    program.jump_if(A1, "!=", 0, "pass_over_arguments", wide=True)


def write_digits(program: Program, prefix: str = "") -> None:
    """Write the number in A0 in decimal, its last digit in front of A1. A1 becomes the address of the first digit. A0
    and A2 are overwritten. prefix: for the labels, because a program may have these operations more than once.
    """
    program.label(f"{prefix}digit")
    program.set(A2, 0)
    program.label(f"{prefix}ten")  # no operation divides; this takes less than a millisecond for a PID
    program.jump_if(A0, "<", 10, f"{prefix}last")
    program.add(A0, A0, -10)
    program.add(A2, A2, 1)
    program.jump(f"{prefix}ten")
    program.label(f"{prefix}last")
    program.add(A0, A0, ord("0"))
    program.add(A1, A1, -1)
    program.store(A0, A1, 0, 1)
    program.copy(A0, A2)
    program.jump_if(A0, "!=", 0, f"{prefix}digit")
