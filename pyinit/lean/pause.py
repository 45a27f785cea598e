"""The lean pause: have the kernel reap, and wait for SIGTERM or SIGINT."""

from __future__ import annotations

from .. import __version__
from .assembler import A0, A1, A2, RESULT, SP, Program
from .kernel import (EINTR, SIG_BLOCK, SIG_IGN, SIGCHLD, SIGINT, SIGPIPE, SIGSET_SIZE, SIGTERM, SIGTTOU, SIGXFSZ,
                     STDERR, STDOUT, WALL, WCLONE, WNOHANG, sigset)

# SIGTERM and SIGINT end the pause. SIGCHLD comes in spite of being ignored when a child ends that made the pause its
# tracer, ptrace(2): the kernel leaves that one a zombie, which is reaped then. The others are raised by a write of the
# pause itself, and would end or stop it unless it is PID 1: write(2), setrlimit(2), tcsetattr(3) TOSTOP.
WAITED = sigset(SIGINT, SIGPIPE, SIGTERM, SIGCHLD, SIGTTOU, SIGXFSZ)

VERSION = b"pause.py %s\n" % __version__.encode()
WARNING = b"Warning: pause should be the first process\n"
TERMINATED = b"Shutting down, got signal: Terminated\n"
INTERRUPTED = b"Shutting down, got signal: Interrupt\n"


def write(program: Program) -> None:
    """Write the program."""
    signals = program.data("signals", WAITED)
    version, warning = program.data("version", VERSION), program.data("warning", WARNING)
    terminated, interrupted = program.data("terminated", TERMINATED), program.data("interrupted", INTERRUPTED)

    # First of all: a signal that comes from now on is kept. Without a mask it would be lost.
    program.call("rt_sigprocmask", SIG_BLOCK, signals, 0, SIGSET_SIZE)
    program.jump_if(RESULT, "!=", 0, "refused")

    # argv[1] is -v or -V. At the start the stack holds argc, argv and a 0. Four bytes can be read even of an empty
    # argument, as execve(2) puts the path behind; three of them are the option and the 0 at its end.
    program.load(A1, SP, 16)
    program.jump_if(A1, "==", 0, "pause", wide=True)
    program.load(A1, A1, 0, 4)
    program.mask(A1, 0xFFFFFF)
    program.mask(A1, ~((ord("v") ^ ord("V")) << 8) & 0xFFFFFFFF)  # makes -V of -v
    program.jump_if(A1, "==", int.from_bytes(b"-V\0", "little"), "show_version")

    # The kernel is to reap: if SIGCHLD is not ignored, each orphan stays a zombie. The struct sigaction of the kernel,
    # <linux/signal_types.h>, is the handler, the flags, and two words that count only where there is a handler; it
    # overwrites argc and argv, which nobody reads again. A2 is still 0, and A3 SIGSET_SIZE.
    program.label("pause")
    program.set(A1, SIG_IGN)
    program.store(A1, SP, 0)
    program.store(A2, SP, 8)
    program.call("rt_sigaction", SIGCHLD, SP, None, None)
    program.jump_if(RESULT, "!=", 0, "refused")

    # PID 1 of its namespace is who adopts orphans. Any other warns once, and goes on whether that could be written.
    program.call("getpid")
    program.jump_if(RESULT, "==", 1, "reap")
    program.call("write", STDERR, warning, len(WARNING))

    # The zombies that were there before, and children that were traced; none that lives is waited for.
    program.label("reap")
    program.call("wait4", -1, 0, WNOHANG | WALL | WCLONE, 0)
    program.jump_if(RESULT, ">", 0, "reap")

    # Sleep until a signal of the set is there, and take it. A1 is still 0: who sent it is not asked for. No timeout: an
    # idle pause is never woken.
    program.call("rt_sigtimedwait", signals, None, 0, SIGSET_SIZE)
    program.set(A1, terminated)
    program.set(A2, len(TERMINATED))
    program.jump_if(RESULT, "==", SIGTERM, "end")
    program.set(A1, interrupted)
    program.set(A2, len(INTERRUPTED))
    program.jump_if(RESULT, "==", SIGINT, "end")
    program.jump_if(RESULT, ">", 0, "reap")  # SIGCHLD, or one that a write has raised
    program.jump_if(RESULT, "==", -EINTR, "reap")  # stopped and continued, or a debugger came or went: signal(7)

    # Refused by a sandbox; 0 is an answer of one, too, and would come again. To go on would be to lose signals, to keep
    # zombies, or to use a whole CPU.
    program.label("refused")
    program.set(A0, 1)
    program.jump("exit")

    program.label("show_version")
    program.set(A0, STDOUT)
    program.set(A1, version)
    program.set(A2, len(VERSION))
    program.jump("say")

    program.label("end")
    program.set(A0, STDERR)
    program.label("say")
    program.call("write")  # exit code 0, whether it could be written or not
    program.set(A0, 0)
    program.label("exit")
    program.call("exit_group")
    program.trap()  # a sandbox has refused that; the kernel does not drop the signal of a trap for PID 1
