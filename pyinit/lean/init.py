"""The lean init: run a command as the main child, forward signals to it, reap, and end when it ends.

The registers that keep their meaning. Before the main child is started, and in it, S0 is the place of the command in
argv; execvp.py names the other registers of the child. In the parent:

    S0  how many children this drain may still reap
    S2  the main child's PID; 0 while there is none
    S3  who gets signals: the main child, or minus its process group, kill(2); before it is started 0 with -g, else 1
    S4  whether the terminal was this process's
    S5  the main child's status; -1 until it has ended
"""

from __future__ import annotations

from .. import __version__
from .assembler import A0, A1, A2, A3, A5, RESULT, S0, S1, S2, S3, S4, S5, SP, Address, Program
from .errors import complain, explain
from .execvp import execute
from .kernel import (AT_FDCWD, EACCES, EAGAIN, EEXIST, EIO, EMFILE, ENFILE, ENOENT, ENOEXEC, ENOMEM, ENOSPC, ENOTDIR,
                     ESRCH, O_CLOEXEC, O_CREAT, O_EXCL, O_NOCTTY, O_NONBLOCK, O_RDONLY, O_WRONLY,
                     PR_SET_CHILD_SUBREAPER, PTRACE_DETACH, SIGCHLD, SIGCONT, SIGINT, SIGPIPE, SIGSET_SIZE, SIGSTOP,
                     SIGTERM, SIGTRAP, SIGTTOU, SIGXFSZ, SIG_BLOCK, SIG_SETMASK, STDIN, STDOUT, TIOCGPGRP, TIOCSPGRP,
                     WALL, WCLONE, WNOHANG, WUNTRACED, sigset)

# The stack: a word for what system calls write, then the mask and the disposition of SIGCHLD that the init was started
# with; above them argc and argv. A message overwrites them.
WORD, MASK, ACTION, FRAME = 0, 8, 16, 80
ARGV = FRAME + 8

# How many children a drain reaps before it looks at the signals.
BATCH = 100

VERSION = b"tini version %s_pyinit\n" % __version__.encode()  # Docker reads these words, as it does catatonit's
USAGE = b"expected [-g] [--] COMMAND [ARG...]\n\0"
REASONS = {ENOENT: b"No such file or directory", EACCES: b"Permission denied", ENOEXEC: b"Exec format error",
           EEXIST: b"File exists"}


def write(program: Program) -> None:
    """Write the program."""
    program.data("all", b"\xff" * SIGSET_SIZE)
    block_signals(program)
    adopt_orphans(program)
    read_options(program)
    look_at_terminal(program)
    start_main_child(program)
    forward(program)
    reap(program)
    wait_for_signal(program)
    end(program)
    restore_state(program)
    execute(program)
    refuse(program)
    explain(program, REASONS)
    read_long_option(program)
    complain(program)
    program.label("leave_early")
    program.jump("exit_s3")
    copy_itself(program)


def block_signals(program: Program) -> None:
    """Block every signal before anything else: PID 1 loses one that arrives earlier. Block the fault signals as well,
    because another process may send them; a real fault kills all the same, signal(7).
    """
    program.add(SP, SP, -FRAME)
    program.call("rt_sigprocmask", SIG_BLOCK, "all", Address(SP, MASK), SIGSET_SIZE)
    program.set(S3, 1)
    program.jump_if(RESULT, "!=", 0, "exit_s3")
    program.set(S2, 0)
    program.set(S4, 0)
    program.set(S5, -1)


def adopt_orphans(program: Program) -> None:
    """Become a subreaper, and do not ignore SIGCHLD: otherwise waitpid(2) would never report a child."""
    # A struct sigaction of zeros is SIG_DFL. A3 is still SIGSET_SIZE.
    program.call("rt_sigaction", SIGCHLD, "zeros", Address(SP, ACTION), None)
    program.call("prctl", PR_SET_CHILD_SUBREAPER, 1)  # without effect on PID 1, which gets its orphans in any case


def read_options(program: Program) -> None:
    """Read the options up to the command, at S0. S3 becomes 0 with -g."""
    program.add(S0, SP, ARGV)
    program.label("next_option")
    program.add(S0, S0, 8)
    program.load(A1, S0)
    program.jump_if(A1, "==", 0, "look_at_terminal", wide=True)
    # Ten bytes can be read even of an empty argument: execve(2) puts the path and eight zeros behind the last one.
    program.load(A2, A1, 0, 1)
    program.jump_if(A2, "!=", ord("-"), "look_at_terminal")
    program.load(A2, A1, 2, 1)
    program.jump_if(A2, "!=", 0, "long_option")
    program.load(A2, A1, 1, 1)
    program.jump_if(A2, "==", ord("s"), "next_option")  # it is always a subreaper
    program.jump_if(A2, "==", ord("P"), "reap")  # without a main child
    program.jump_if(A2, "==", ord("-"), "end_of_options")
    program.jump_if(A2, "!=", ord("g"), "long_option")
    program.set(S3, 0)
    program.jump("next_option")
    program.label("end_of_options")
    program.add(S0, S0, 8)


def look_at_terminal(program: Program) -> None:
    """Set S4 to 1 if stdin is the controlling terminal and this process's group is its foreground process group.

    This runs before the main child is started, and after a shell's `fg`, when the main child's group gets the terminal.
    """
    program.label("look_at_terminal")
    program.call("ioctl", STDIN, TIOCGPGRP, SP)
    program.jump_if(RESULT, "!=", 0, "looked")
    program.call("getpgid", 0)
    program.load(A1, SP, WORD, 4)
    program.jump_if(A1, "!=", RESULT, "looked")
    program.jump_if(A1, "!=", 0, "terminal")
    # Groups of an outer PID namespace have the number 0, so two different ones look the same, pid_namespaces(7). From
    # the background a read of 0 bytes fails with EIO, because SIGTTIN is blocked. The read uses a description that does
    # not block, because another reader of the terminal holds its lock.
    program.call("openat", AT_FDCWD, program.data("dev_tty", b"/dev/tty\0"),
                 O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
    program.copy(S1, RESULT)
    program.call("read", S1, SP, 0)
    program.copy(A5, RESULT)
    program.call("close", S1)
    program.jump_if(S1, "<", 0, "looked")
    program.jump_if(A5, "==", -EIO, "looked")
    program.label("terminal")
    program.set(S4, 1)
    program.store(S2, SP, WORD, 4)
    program.call("ioctl", STDIN, TIOCSPGRP, SP)  # the kernel refuses the group 0
    program.label("looked")
    program.jump_if(S2, "==", 0, "start")
    # The main child gets SIGCONT as well, and its whole group if it is a job: Ctrl-Z has stopped all of the group.
    program.set(A1, SIGCONT)
    program.copy(A0, S3)
    program.jump_if(S4, "==", 0, "send")
    program.set(A0, 0)
    program.subtract(A0, S2)
    program.jump("send")


def start_main_child(program: Program) -> None:
    """Start the main child and make its process group. Parent and child both call setpgid(2), because a signal may have
    to be forwarded to the group before the child runs.
    """
    program.label("start")
    program.load(S2, S0)
    program.jump_if(S2, "==", 0, "usage", wide=True)
    program.call("clone", SIGCHLD, 0)  # as fork(2): the other arguments belong to flags that are not set
    program.jump_if(RESULT, "==", 0, "child")
    program.jump_if(RESULT, "<", 0, "refused")
    program.copy(S2, RESULT)
    program.call("setpgid", S2, S2)
    program.jump_if(S3, "==", 0, "group")
    program.copy(S3, S2)
    program.jump("reap")
    program.label("group")
    program.subtract(S3, S2)
    program.jump("reap")


def reap(program: Program) -> None:
    """Reap until no zombie is left, because one SIGCHLD stands for any number of zombies, signal(7); but look at the
    signals after BATCH zombies. A2 becomes the timeout of that look: 0, for no timeout, if no zombie is left.
    """
    # A child has stopped. If it has made this process its tracer, ptrace(2) PTRACE_TRACEME, nothing else continues it:
    # detach, and deliver the signal that stopped it. SIGTRAP belongs to the tracing alone.
    program.label("stopped")
    program.copy(S1, RESULT)
    program.copy(A3, A1)
    program.shift(A3, 8)
    program.jump_if(A3, "!=", SIGTRAP, "detach")
    program.set(A3, 0)
    program.label("detach")
    program.call("ptrace", PTRACE_DETACH, S1, 0, None)
    program.jump_if(RESULT, "==", 0, "reaped")
    # Job control: the shell whose job this process is has to see it stopped. The kernel drops SIGSTOP for PID 1.
    program.jump_if(S1, "!=", S2, "reaped")
    program.jump_if(S4, "==", 0, "reaped")
    program.jump_if(A3, "==", SIGSTOP, "reaped")
    program.call("getpid")
    program.call("kill", RESULT, SIGSTOP)
    program.jump("reaped")

    program.label("reap")
    program.set(S0, BATCH)
    program.label("reap_next")
    program.call("wait4", -1, SP, WNOHANG | WUNTRACED | WALL | WCLONE, 0)
    program.set(A2, 0)
    program.jump_if(RESULT, "<=", 0, "drained")
    program.load(A1, SP, WORD, 4)
    program.load(A2, SP, WORD, 1)
    program.jump_if(A2, "==", 0x7F, "stopped")
    program.jump_if(RESULT, "!=", S2, "reaped")
    program.copy(S5, A1)
    program.label("reaped")
    program.add(S0, S0, -1)
    program.jump_if(S0, "!=", 0, "reap_next")
    program.set(A2, "zeros")  # do not sleep


def wait_for_signal(program: Program) -> None:
    """Sleep until a signal is pending, and take it. Without a timeout, an idle init is never woken."""
    program.label("drained")
    program.jump_if(S5, ">=", 0, "finish")
    program.jump_if(RESULT, ">=", 0, "wait")  # there are children
    program.set(S3, 1)
    program.jump_if(S2, "!=", 0, "exit_s3")  # the main child's status is lost
    program.label("wait")
    program.call("rt_sigtimedwait", "all", 0, None, SIGSET_SIZE)
    program.jump_if(RESULT, "<=", 0, "reap")  # EINTR: stopped and continued; EAGAIN: no signal is pending
    program.jump_if(RESULT, "==", SIGCHLD, "reap")
    program.copy(A1, RESULT)
    program.jump_if(S2, "!=", 0, "forward")
    # With -P there is no main child: SIGTERM and SIGINT end the init, and it drops others.
    program.set(S3, 0)
    program.jump_if(A1, "==", SIGTERM, "exit_s3")
    program.jump_if(A1, "!=", SIGINT, "reap")
    program.label("exit_s3")
    program.call("exit_group", S3)
    program.trap()  # a sandbox has refused that; the kernel does not drop the signal of a trap for PID 1


def forward(program: Program) -> None:
    """Send a signal, A1, to the main child or its group."""
    program.label("forward")
    program.jump_if(A1, "==", SIGCONT, "look_at_terminal")
    program.copy(A0, S3)
    program.label("send")
    program.call("kill", None, None)
    program.jump_if(RESULT, "!=", -ESRCH, "reap")
    program.call("kill", S2, None)  # there is no group: a sandbox has refused it
    program.jump("reap")


def end(program: Program) -> None:
    """Exit with the main child's code, or with 128 + N."""
    program.label("finish")
    give_terminal_back(program)
    program.label("leave")
    program.copy(S3, S5)
    program.shift(S3, 8)
    program.mask(S5, 0x7F)  # the signal that killed it, wait(2); 0x80 says that there is a core dump
    program.jump_if(S5, "==", 0, "exited")
    program.add(S3, S5, 128)
    program.label("exited")
    program.jump("exit_s3")


def give_terminal_back(program: Program) -> None:
    """Make this process's group the foreground group again: else its parent would stop when it reads. But leave the
    terminal to another group that is alive: a shell that has stopped this process has it.
    """
    program.jump_if(S4, "==", 0, "leave")
    program.call("ioctl", STDIN, TIOCGPGRP, SP)
    program.load(A1, SP, WORD, 4)
    program.jump_if(A1, "==", S2, "take")
    program.set(A0, 0)
    program.subtract(A0, A1)
    program.call("kill", None, 0)
    program.jump_if(RESULT, "==", 0, "leave")  # that group is alive
    program.label("take")
    program.call("getpgid", 0)
    program.store(RESULT, SP, WORD, 4)
    program.call("ioctl", STDIN, TIOCSPGRP, None)


def read_long_option(program: Program) -> None:
    """Do --version or --copy-to PATH; refuse anything else. A1: the argument."""
    program.label("long_option")
    program.load(A2, A1, 1, 1)
    program.jump_if(A2, "!=", ord("-"), "wrong_option")
    program.load(A3, A1, 2)
    jump_unless_text(program, b"version\0", "not_version")
    program.call("write", STDOUT, program.data("version", VERSION), len(VERSION))
    program.set(S3, 0)
    program.jump("leave_early")
    program.label("not_version")
    jump_unless_text(program, b"copy-to\0", "wrong_option")
    program.load(S2, S0, 8)
    program.jump_if(S2, "!=", 0, "copy_itself", wide=True)
    program.label("usage")
    program.set(A1, "zeros")  # no argument
    program.label("wrong_option")
    program.copy(S2, A1)
    program.set(A1, program.data("usage_text", USAGE))
    program.set(S3, 1)
    program.set(S0, program.data("cannot_run", b"pyinit: cannot run '\0"))
    program.jump("complain")


def jump_unless_text(program: Program, text: bytes, label: str) -> None:
    """Go to a label unless A3 holds a text of eight bytes."""
    program.set(A2, program.data(f"option_{text[:-1].decode()}", text))
    program.load(A2, A2)
    program.jump_if(A3, "!=", A2, label, wide=True)


def copy_itself(program: Program) -> None:
    """Write this program's file to the path S2, from memory, which holds all of it."""
    program.label("copy_itself")
    program.call("umask", 0)
    # Kubernetes may run an init container again while the file that it has written is still there. That file is not
    # opened but replaced: it may be running, open(2) ETXTBSY, and a link in its place must not be followed.
    program.call("unlinkat", AT_FDCWD, S2, 0)
    program.call("openat", AT_FDCWD, None, O_WRONLY | O_CREAT | O_EXCL, 0o755)
    program.copy(S1, RESULT)
    program.jump_if(S1, "<", 0, "not_copied")
    program.set(A1, "size")
    program.load(S5, A1)
    program.call("write", S1, "base", S5)
    program.copy(S1, RESULT)
    program.set(S3, 0)
    program.jump_if(S1, "==", S5, "leave_early")
    program.call("unlinkat", AT_FDCWD, S2, 0)
    program.jump_if(S1, "<", 0, "not_copied")
    program.set(S1, -ENOSPC)  # only a part was written
    program.label("not_copied")
    program.set(S0, program.data("cannot_write", b"pyinit: cannot write '\0"))
    program.set(S3, 1)
    program.jump("explain")


def restore_state(program: Program) -> None:
    """In the child: restore what the init has changed. execute() follows."""
    program.label("child")
    program.call("setpgid", 0, 0)
    program.jump_if(S4, "==", 0, "restore")
    program.call("getpid")
    program.store(RESULT, SP, WORD, 4)
    program.call("ioctl", STDIN, TIOCSPGRP, SP)  # from the background: a blocked SIGTTOU allows it, tcsetpgrp(3)
    program.label("restore")
    program.call("rt_sigaction", SIGCHLD, Address(SP, ACTION), 0, SIGSET_SIZE)
    program.call("rt_sigprocmask", SIG_SETMASK, Address(SP, MASK), None, None)


def refuse(program: Program) -> None:
    """Choose the exit code of a command that cannot be run. RESULT: the error."""
    program.label("refused")
    program.copy(S1, RESULT)
    # SIGPIPE has the disposition that the init was started with: a message to a broken stderr would kill this process,
    # and hide the exit code. But signals of others may end this process while it waits to write.
    program.call("rt_sigprocmask", SIG_BLOCK, program.data("write_signals", sigset(SIGPIPE, SIGTTOU, SIGXFSZ)), 0,
                 SIGSET_SIZE)
    program.set(S0, "cannot_run")
    program.set(S3, 127)
    for error in (ENOENT, ENOTDIR):
        program.jump_if(S1, "==", -error, "explain")
    program.set(S3, 1)
    program.jump_if(S5, "==", -1, "explain", wide=True)  # the parent: there is no child
    for error in (EAGAIN, ENOMEM, ENFILE, EMFILE):
        program.jump_if(S1, "==", -error, "explain")
    program.set(S3, 126)
