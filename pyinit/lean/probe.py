"""The lean probe: make an orphan, and say which process adopts it and whether that process reaps it.

This asks the same question as `pyinit-zombies --probe`, and gives the same answer, for a container without Python. The
registers that keep their meaning:

    S0  the end of a pipe that the orphan reads until no process has the other end open
    S1  the end of a pipe that the orphan writes its PID and its parent's to
    S2  the PID of the probe's child, then of the orphan
    S3  the PID of the process that adopted the orphan
    S4  how many looks at the orphan are left
    S5  the exit code
"""

from __future__ import annotations

import struct

from .assembler import A0, A1, A2, RESULT, S0, S1, S2, S3, S4, S5, SP, Address, Program
from .kernel import AT_FDCWD, O_RDONLY, SIGCHLD, STDOUT
from .macros import write_digits

# The stack: nine struct iovec, a pointer and a length each; two pipes, a pair of descriptors each; what the orphan
# answers; a name as /proc has it, of 15 bytes and a newline at most, proc(5); the digits of two numbers, which end at
# PARENT and ORPHAN. The rest of a path is behind those of PARENT.
PIECE = 16
GATE, ANSWER, FOUND, NAME, PARENT, ORPHAN, FRAME = 144, 152, 160, 176, 216, 240, 240
ARGC = FRAME
NAME_SIZE = 16

LOOKS, INTERVAL = 400, 5_000_000  # 2 seconds in all; the interval between two looks is in nanoseconds

REAPED, NOT_REAPED = b"reaped: ", b"not reaped: "
NAMELESS, PID = b"a process", b" (PID "
DID_REAP = b") adopted an orphan and reaped it within 2 seconds\n"
DID_NOT_REAP = b") adopted an orphan and has not reaped it after 2 seconds: "
REMEDY = b"use pyinit as ENTRYPOINT, the engine's --init, or shareProcessNamespace with a pause that reaps"
SUBREAPER = b"it is a subreaper, prctl(2), and no init helps: fix its wait"
WHICH, UNTIL, END = b"; the orphan, PID ", b", is now a zombie until PID ", b" waits for it or ends\n"
IS_PID_1 = b"unknown: this probe is PID 1 itself; expected to run beside the container's program, as by exec\n"
IS_SUBREAPER = (b"unknown: this probe adopted the orphan itself, as it was started as a subreaper, prctl(2); expected "
                b"to be started by another process\n")
NO_ORPHAN = b"unknown: cannot make an orphan; expected two free PIDs\n"
NO_ARGUMENT = b"unknown: expected no argument\n"


def write(program: Program) -> None:
    """Write the program."""
    make_orphan(program)
    watch_orphan(program)
    name_parent(program)
    report(program)
    leave_orphan(program)
    refuse(program)


def make_orphan(program: Program) -> None:
    """Start a child that leaves an orphan, wait for the child, and let the orphan end."""
    program.add(SP, SP, -FRAME)
    program.set(S5, 3)
    program.load(A2, SP, ARGC)
    program.jump_if(A2, "!=", 1, "no_argument")
    program.call("getpid")
    program.jump_if(RESULT, "==", 1, "is_pid_1")
    program.call("pipe2", Address(SP, GATE), 0)
    program.jump_if(RESULT, "!=", 0, "no_orphan")
    program.call("pipe2", Address(SP, ANSWER), 0)
    program.jump_if(RESULT, "!=", 0, "no_orphan")
    program.load(S0, SP, GATE, 4)
    program.load(S1, SP, ANSWER + 4, 4)
    program.call("clone", SIGCHLD, 0)  # as fork(2): the other arguments belong to flags that are not set
    program.jump_if(RESULT, "==", 0, "child")
    program.jump_if(RESULT, "<", 0, "no_orphan")
    program.copy(S2, RESULT)
    program.call("close", S1)
    # The kernel gives the orphan its new parent before wait4(2) can return for the old one.
    program.call("wait4", S2, 0, 0, 0)
    program.load(A0, SP, GATE + 4, 4)
    program.call("close", None)
    program.load(S0, SP, ANSWER, 4)
    program.call("read", S0, Address(SP, FOUND), 8)
    program.jump_if(RESULT, "!=", 8, "no_orphan")
    program.call("read", S0, Address(SP, NAME), 1)  # it returns when the orphan has ended
    program.load(S2, SP, FOUND, 4)
    program.load(S3, SP, FOUND + 4, 4)
    program.call("getpid")
    program.jump_if(RESULT, "==", S3, "is_subreaper")


def watch_orphan(program: Program) -> None:
    """Wait for the orphan to be reaped. S5 becomes 0 or 2."""
    program.set(S4, LOOKS)
    program.label("look")
    program.set(S5, 0)
    program.call("kill", S2, 0)  # succeeds for a zombie as well, kill(2)
    program.jump_if(RESULT, "!=", 0, "watched")
    program.set(S5, 2)
    program.add(S4, S4, -1)
    program.jump_if(S4, "==", 0, "watched")
    program.call("nanosleep", program.data("interval", struct.pack("<QQ", 0, INTERVAL)), 0)
    program.jump("look")
    program.label("watched")


def name_parent(program: Program) -> None:
    """Set the pieces that name the process that adopted the orphan: its name, if /proc shows it, and its PID."""
    put(program, 1, "nameless", NAMELESS)
    put(program, 2, "pid", PID)
    program.copy(A0, S3)
    program.add(A1, SP, PARENT)
    write_digits(program, "parent_")
    program.store(A1, SP, 3 * PIECE)
    program.store(A1, SP, 7 * PIECE)
    program.add(A2, SP, PARENT)
    program.subtract(A2, A1)
    program.store(A2, SP, 3 * PIECE + 8)
    program.store(A2, SP, 7 * PIECE + 8)

    # Complete the digits to /proc/PID/comm.
    program.set(A2, program.data("comm", b"/comm\0\0\0/pro"))
    program.load(A0, A2)
    program.store(A0, SP, PARENT)
    program.load(A0, A2, 8, 4)
    program.add(A1, A1, -6)
    program.store(A0, A1, 0, 4)
    program.set(A0, ord("c"))
    program.store(A0, A1, 4, 1)
    program.set(A0, ord("/"))
    program.store(A0, A1, 5, 1)
    program.call("openat", AT_FDCWD, None, O_RDONLY)
    program.call("read", RESULT, Address(SP, NAME), NAME_SIZE)
    program.jump_if(RESULT, "<=", 1, "named")
    program.store(A1, SP, PIECE)
    program.add(A2, RESULT, -1)  # without the newline
    program.store(A2, SP, PIECE + 8)
    program.label("named")


def report(program: Program) -> None:
    """Write the line and exit with S5."""
    put(program, 0, "reaped", REAPED)
    put(program, 4, "did_reap", DID_REAP)
    program.set(A2, 5)
    program.jump_if(S5, "==", 0, "say")

    put(program, 0, "not_reaped", NOT_REAPED)
    put(program, 4, "for_an_init", DID_NOT_REAP + REMEDY + WHICH)
    program.jump_if(S3, "==", 1, "write_orphan")
    put(program, 4, "for_a_subreaper", DID_NOT_REAP + SUBREAPER + WHICH)
    program.label("write_orphan")
    program.copy(A0, S2)
    program.add(A1, SP, ORPHAN)
    write_digits(program, "orphan_")
    program.store(A1, SP, 5 * PIECE)
    program.add(A2, SP, ORPHAN)
    program.subtract(A2, A1)
    program.store(A2, SP, 5 * PIECE + 8)
    put(program, 6, "until", UNTIL)
    put(program, 8, "end", END)
    program.set(A2, 9)
    program.label("say")
    program.call("writev", STDOUT, SP, None)
    program.label("exit")
    program.call("exit_group", S5)
    program.trap()  # a sandbox has refused that


def put(program: Program, place: int, name: str, text: bytes) -> None:
    """Make a text the piece at a place. A1 and A2 are overwritten."""
    program.set(A1, program.data(name, text))
    program.store(A1, SP, place * PIECE)
    program.set(A2, len(text))
    program.store(A2, SP, place * PIECE + 8)


def leave_orphan(program: Program) -> None:
    """In the child: start the orphan and exit. The orphan answers once the probe has closed the gate, or has ended."""
    program.label("child")
    program.set(S5, 0)
    program.load(A0, SP, GATE + 4, 4)
    program.call("close", None)
    program.call("clone", SIGCHLD, 0)
    program.jump_if(RESULT, "!=", 0, "exit")
    program.call("read", S0, Address(SP, NAME), 1)
    program.call("getpid")
    program.store(RESULT, SP, FOUND, 4)
    program.call("getppid")
    program.store(RESULT, SP, FOUND + 4, 4)
    program.call("write", S1, Address(SP, FOUND), 8)
    program.jump("exit")


def refuse(program: Program) -> None:
    """Say why there is no answer, and exit with S5, which is 3."""
    program.label("is_subreaper")
    program.call("wait4", S2, 0, 0, 0)
    for name, text in (("is_subreaper", IS_SUBREAPER), ("is_pid_1", IS_PID_1), ("no_argument", NO_ARGUMENT),
                       ("no_orphan", NO_ORPHAN)):
        if name != "is_subreaper":
            program.label(name)
        program.set(A1, program.data(f"{name}_text", text))
        program.set(A2, len(text))
        program.jump("complain")
    program.label("complain")
    program.call("write", STDOUT, None, None)
    program.jump("exit")
