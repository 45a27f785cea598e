"""The lean pause: let the kernel reap, and wait for SIGTERM or SIGINT."""

from __future__ import annotations

from .. import __version__
from .assembler import A0, A1, A2, RESULT, SP, Program
from .kernel import (EINTR, SIG_BLOCK, SIG_IGN, SIGCHLD, SIGINT, SIGPIPE, SIGSET_SIZE, SIGTERM, SIGTTOU, SIGXFSZ,
                     STDERR, STDOUT, WALL, WCLONE, WNOHANG, sigset)

# SIGTERM and SIGINT end the pause. SIGCHLD arrives, although it is ignored, when a child ends that has made the pause
# its tracer, ptrace(2): the kernel leaves this child a zombie, and the pause reaps it then. A write of the pause itself
# raises the others, which would end or stop it unless it is PID 1: write(2), setrlimit(2), tcsetattr(3) TOSTOP.
WAITED = sigset(SIGINT, SIGPIPE, SIGTERM, SIGCHLD, SIGTTOU, SIGXFSZ)

VERSION = b"pause.py %s\n" % __version__.encode()
WARNING = b"Warning: pause should be the first process\n"
TERMINATED = b"Shutting down, got signal: Terminated\n"
INTERRUPTED = b"Shutting down, got signal: Interrupt\n"


def write(program: Program) -> None:
    """Write the program: each stage runs into the next."""
    for name, content in {"signals": WAITED, "version": VERSION, "warning": WARNING, "terminated": TERMINATED,
                          "interrupted": INTERRUPTED}.items():
        program.data(name, content)
    block_signals(program)
    read_option(program)
    have_kernel_reap(program)
    warn_unless_first(program)
    reap(program)
    wait_for_signal(program)
    leave(program)


def block_signals(program: Program) -> None:
    """Block signals before anything else: each one that arrives from now on is kept. Unblocked, it would be lost."""
    program.call("rt_sigprocmask", SIG_BLOCK, "signals", 0, SIGSET_SIZE)
    program.jump_if(RESULT, "!=", 0, "refused")


def read_option(program: Program) -> None:
    """Go to show_version if the first argument is -v or -V."""
    # At the start the stack holds argc, argv and a 0. Four bytes can be read even of an empty argument, because
    # execve(2) puts the path behind it. Three of them are the option and the 0 at its end.
    program.load(A1, SP, 16)
    program.jump_if(A1, "==", 0, "pause", wide=True)
    program.load(A1, A1, 0, 4)
    program.mask(A1, 0xFFFFFF)
    program.mask(A1, ~((ord("v") ^ ord("V")) << 8) & 0xFFFFFFFF)  # turns -v into -V
    program.jump_if(A1, "==", int.from_bytes(b"-V\0", "little"), "show_version")


def have_kernel_reap(program: Program) -> None:
    """Ignore SIGCHLD: if that is refused, each orphan stays a zombie."""
    # The struct sigaction of the kernel, <linux/signal_types.h>, has the handler, the flags, and two words that count
    # only if there is a handler. It overwrites argc and argv, which the program does not read again. A2 is still 0, and
    # A3 is still SIGSET_SIZE.
    program.label("pause")
    program.set(A1, SIG_IGN)
    program.store(A1, SP, 0)
    program.store(A2, SP, 8)
    program.call("rt_sigaction", SIGCHLD, SP, None, None)
    program.jump_if(RESULT, "!=", 0, "refused")


def warn_unless_first(program: Program) -> None:
    """Warn once if this is not PID 1 of its namespace, which adopts orphans; go on if the warning cannot be written."""
    program.call("getpid")
    program.jump_if(RESULT, "==", 1, "reap")
    program.call("write", STDERR, "warning", len(WARNING))


def reap(program: Program) -> None:
    """Reap the zombies that were there before, and children that were traced; do not wait for a living child."""
    program.label("reap")
    program.call("wait4", -1, 0, WNOHANG | WALL | WCLONE, 0)
    program.jump_if(RESULT, ">", 0, "reap")


def wait_for_signal(program: Program) -> None:
    """Sleep until a signal of the set is pending, and take it. There is no timeout: an idle pause is never woken."""
    # A1 is still 0: the pause does not ask who sent the signal.
    program.call("rt_sigtimedwait", "signals", None, 0, SIGSET_SIZE)
    program.set(A1, "terminated")
    program.set(A2, len(TERMINATED))
    program.jump_if(RESULT, "==", SIGTERM, "end")
    program.set(A1, "interrupted")
    program.set(A2, len(INTERRUPTED))
    program.jump_if(RESULT, "==", SIGINT, "end")
    program.jump_if(RESULT, ">", 0, "reap")  # SIGCHLD, or one that a write has raised
    program.jump_if(RESULT, "==", -EINTR, "reap")  # stopped and continued, or a debugger came or went: signal(7)


def leave(program: Program) -> None:
    """Exit with 1 if the kernel refuses a call; else write the version or why the pause ends, and exit with 0."""
    # A sandbox has refused the call, or has answered 0, as it would again. A pause that goes on would lose signals,
    # keep zombies, or use a whole CPU.
    program.label("refused")
    program.set(A0, 1)
    program.jump("exit")

    program.label("show_version")
    program.set(A0, STDOUT)
    program.set(A1, "version")
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
