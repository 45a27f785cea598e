"""The stub: block signals, note what CPython is about to change, and execute the interpreter with the bundle.

Across execve(2), blocked signals stay blocked, and pending ones stay pending. The interpreter gets the bundle as its
script and the note as the first argument, in front of the stub's own; linux/note.py reads the note.

The registers that keep their meaning:

    S0  the frame: SP at the start, before buffers are made below
    S1  the environment
    S2  the value of LC_CTYPE, 0 if there is none
    S3  the value of __PYVENV_LAUNCHER__, 0 if there is none
    S4  the path by which the stub was executed
    S5  the bundle's descriptor
"""

from __future__ import annotations

from typing import NamedTuple, Union

from .assembler import A0, A1, A2, A3, A4, A5, RESULT, S0, S1, S2, S3, S4, S5, SP, Address, Program, Register
from .errors import complain, explain
from .kernel import (AT_EXECFN, AT_FDCWD, EACCES, ELOOP, ENOENT, ENOEXEC, ENOTDIR, O_NONBLOCK, O_RDONLY, SEEK_END,
                     SIG_BLOCK, SIG_IGN, SIGCHLD, SIGINT, SIGPIPE, SIGSET_SIZE, SIGXFSZ)
from .macros import pass_over_arguments, write_digits

# The note is the launcher's name and a colon, the bytes of the frame up to NOTED in hexadecimal digits, the values of
# the two variables, and the path by which the stub was executed. A length is one more than that of the value, and 0 if
# the variable is not set. There are two sizes, each of 8 bytes an entry and 8 for the 0 at the end: that of the
# environment, and that of its part behind __PYVENV_LAUNCHER__, which is all of it if that is not set.
MASK, IGNORED, LOCALE_LENGTH, LAUNCHER_LENGTH, ENVIRONMENT_SIZE, BEHIND_SIZE, NOTED = 0, 8, 12, 16, 20, 24, 28
# The signals whose dispositions are noted, one bit each from the lowest on.
DISPOSITIONS = (SIGPIPE, SIGXFSZ, SIGINT, SIGCHLD)

# The rest of the frame: what system calls write, a pointer to the path of the bundle, the last byte of a path that ends
# in a number, and the interpreter's arguments, of which the last two take the place of argc and argv[0].
SCRATCH, BUNDLE, PATH_END, EXPLAINING_ARGV, ARGV, FRAME = 32, 64, 103, 104, 112, 128
POINTER = 8
HEADER_SIZE, PROTOCOL_PLACE = 16, 8
DESCRIPTORS = b"/proc/self/fd/"

REASONS = {ENOENT: b"No such file or directory", ENOTDIR: b"Not a directory", EACCES: b"Permission denied",
           ENOEXEC: b"Exec format error", ELOOP: b"Too many levels of symbolic links"}


class Settings(NamedTuple):
    """What the installer of a launcher decides."""

    name: bytes  # of the launcher, which says what personality it has
    interpreter: bytes  # its path
    flags: bytes  # its one argument in front of the script
    signals: bytes  # the set to block, as the kernel takes it
    destination: bytes  # the path of the launcher itself
    suffixes: tuple[bytes, ...]  # what is added to the launcher's path for a bundle, in this order
    key: bytes  # what a bundle starts with; three bytes follow, the size of what the interpreter reads
    failure: bytes  # the Python code that explains why no bundle was found; its argument is the path of the stub
    cannot_run: bytes  # the beginning of the message that the interpreter cannot be run, up to its path


def write(program: Program, settings: Settings) -> None:
    """Write the program."""
    block_signals(program, settings)
    note_dispositions(program)
    read_environment(program)
    note_sizes(program)
    find_path(program)
    pass_over_script(program)
    find_bundle(program, settings)
    name_descriptor(program)
    write_note(program, settings)
    execute(program, settings)
    refuse(program, settings)


def block_signals(program: Program, settings: Settings) -> None:
    """Block signals before anything else: PID 1 loses one that arrives earlier."""
    program.add(SP, SP, -FRAME)
    program.call("rt_sigprocmask", SIG_BLOCK, program.data("signals", settings.signals), Address(SP, MASK), SIGSET_SIZE)
    program.copy(S0, SP)
    program.set(S3, 1)
    program.jump_if(RESULT, "!=", 0, "exit_s3")


def note_dispositions(program: Program) -> None:
    """Note which of DISPOSITIONS are ignored: CPython changes them, or pyinit does."""
    program.set(S5, 0)
    for place, number in enumerate(DISPOSITIONS):
        program.call("rt_sigaction", number, 0, Address(S0, SCRATCH), SIGSET_SIZE)
        program.load(A1, S0, SCRATCH)  # the handler comes first in the kernel's struct sigaction
        program.jump_if(A1, "!=", SIG_IGN, f"not_ignored_{number}", wide=True)
        program.add(S5, S5, 1 << place)
        program.label(f"not_ignored_{number}")
    program.store(S5, S0, IGNORED, 4)


def read_environment(program: Program) -> None:
    """Find the two variables that CPython changes: LC_CTYPE under a C locale, PEP 538, and __PYVENV_LAUNCHER__. The
    first of several counts, as for getenv(3). A4 becomes the auxiliary vector, and A5 the place in the environment
    behind __PYVENV_LAUNCHER__.
    """
    program.add(S1, S0, FRAME + POINTER)
    pass_over_arguments(program)
    program.copy(A4, S1)
    program.set(S2, 0)
    program.set(S3, 0)
    program.copy(A5, S1)
    program.label("next_variable")
    program.load(A1, A4)
    program.add(A4, A4, POINTER)
    program.jump_if(A1, "==", 0, "end_of_environment", wide=True)
    # Eight bytes can be read even if only one is left: execve(2) puts the path and eight zeros behind the last entry.
    program.load(A2, A1)
    jump_unless_word(program, A2, b"LC_CTYPE", "not_locale")
    program.load(A2, A1, 8, 1)
    program.jump_if(A2, "!=", ord("="), "next_variable")
    program.jump_if(S2, "!=", 0, "next_variable", wide=True)
    program.add(S2, A1, 9)
    program.jump("next_variable")
    program.label("not_locale")
    jump_unless_word(program, A2, b"__PYVENV", "next_variable")
    program.load(A2, A1, 8)
    jump_unless_word(program, A2, b"_LAUNCHE", "next_variable")
    program.load(A2, A1, 16, 4)
    program.mask(A2, 0xFFFFFF)
    program.jump_if(A2, "!=", int.from_bytes(b"R__", "little"), "next_variable")
    program.load(A2, A1, 19, 1)
    program.jump_if(A2, "!=", ord("="), "next_variable")
    program.jump_if(S3, "!=", 0, "next_variable", wide=True)
    program.add(S3, A1, 20)
    program.copy(A5, A4)
    program.jump("next_variable")


def note_sizes(program: Program) -> None:
    """Note the size of the environment, and that of its part behind __PYVENV_LAUNCHER__."""
    program.label("end_of_environment")
    for start, place in ((S1, ENVIRONMENT_SIZE), (A5, BEHIND_SIZE)):
        program.copy(A1, A4)
        program.subtract(A1, start)
        program.store(A1, S0, place, 4)


def find_path(program: Program) -> None:
    """Find the path by which the stub was executed, getauxval(3). argv[0] is only what the caller says."""
    program.label("find_path")
    program.load(A1, A4)
    program.load(S4, A4, 8)
    program.add(A4, A4, 16)
    program.jump_if(A1, "!=", AT_EXECFN, "find_path", wide=True)


def pass_over_script(program: Program) -> None:
    """If a script has the stub behind its `#!`, make S4 the path of the stub. AT_EXECFN is the script then: neither its
    name nor a bundle beside it counts. The kernel puts the path of the stub, at most one argument, and the script into
    argv, execve(2).
    """
    program.load(A4, S0, FRAME + POINTER)
    program.jump_if(A4, "==", 0, "called", wide=True)
    for place in (1, 2):
        program.load(A4, S0, FRAME + POINTER + place * POINTER)
        program.jump_if(A4, "==", 0, "called", wide=True)
        program.copy(A5, S4)
        program.label(f"compare_{place}")
        program.load(A0, A4, 0, 1)
        program.load(A1, A5, 0, 1)
        program.add(A4, A4, 1)
        program.add(A5, A5, 1)
        program.jump_if(A0, "!=", A1, f"differs_{place}")
        program.jump_if(A0, "!=", 0, f"compare_{place}")
        program.jump("script")
        program.label(f"differs_{place}")
    program.jump("called")
    program.label("script")
    program.load(A4, S0, FRAME + POINTER)
    program.load(A0, A4, 0, 1)
    program.jump_if(A0, "!=", ord("/"), "called")  # no script: a shell runs the stub with the stub's path as argument
    program.copy(S4, A4)
    program.label("called")


def find_bundle(program: Program, settings: Settings) -> None:
    """Open the first bundle that starts with the key: beside the path, or where it was written."""
    program.set(A2, max(len(suffix) for suffix in settings.suffixes) + 1)
    add_length(program, S4, "path")
    make_buffer(program)
    program.data("key", settings.key[:PROTOCOL_PLACE])
    for place, suffix in enumerate(settings.suffixes):
        program.copy(A1, SP)
        copy_text(program, S4, f"path_{place}")
        copy_text(program, program.data(f"suffix_{place}", suffix + b"\0"), f"suffix_{place}")
        program.copy(A1, SP)
        open_bundle(program, settings, f"beside_{place}")
        program.set(A1, program.data(f"written_{place}", settings.destination + suffix + b"\0"))
        open_bundle(program, settings, f"written_{place}")

    # There is none. The interpreter says why, because that is easier in Python.
    program.set(A1, program.data("command", b"-c\0"))
    program.store(A1, S0, ARGV + POINTER)
    program.set(A1, program.data("failure", settings.failure + b"\0"))
    program.store(A1, S0, FRAME)
    program.store(S4, S0, FRAME + POINTER)
    program.add(S5, S0, EXPLAINING_ARGV)
    program.jump("execute")


def open_bundle(program: Program, settings: Settings, name: str) -> None:
    """Open the file A1 and go to "found" if it starts with the key and is not cut short."""
    program.store(A1, S0, BUNDLE)
    program.call("openat", AT_FDCWD, None, O_RDONLY | O_NONBLOCK)  # also a named pipe, which has no key
    program.jump_if(RESULT, "<", 0, f"not_{name}")
    program.copy(S5, RESULT)
    program.call("read", S5, Address(S0, SCRATCH), HEADER_SIZE)
    program.jump_if(RESULT, "!=", HEADER_SIZE, f"close_{name}")
    program.load(A1, S0, SCRATCH)
    program.set(A2, "key")
    program.load(A2, A2)
    program.jump_if(A1, "!=", A2, f"close_{name}", wide=True)
    program.load(A1, S0, SCRATCH + PROTOCOL_PLACE, 1)
    program.jump_if(A1, "!=", settings.key[PROTOCOL_PLACE], f"close_{name}")
    program.call("lseek", S5, 0, SEEK_END)
    program.load(A1, S0, SCRATCH + PROTOCOL_PLACE, 4)
    program.shift(A1, 8)
    program.add(A1, A1, HEADER_SIZE)
    program.jump_if(RESULT, ">=", A1, "found")
    program.label(f"close_{name}")
    program.call("close", S5)
    program.label(f"not_{name}")


def name_descriptor(program: Program) -> None:
    """Make the path of the open bundle's descriptor, so that the interpreter reads the very file that has the key, even
    if it has just been replaced. Without /proc, use the path in the file system.
    """
    program.label("found")
    program.add(A1, S0, PATH_END)
    program.set(A0, 0)
    program.store(A0, A1, 0, 1)
    program.copy(A0, S5)
    write_digits(program, "descriptor_")
    # Put the directory in front, from its last byte on.
    program.set(A2, program.data("descriptors", DESCRIPTORS))
    program.add(A3, A2, len(DESCRIPTORS))
    program.label("next_byte")
    program.add(A3, A3, -1)
    program.add(A1, A1, -1)
    program.load(A4, A3, 0, 1)
    program.store(A4, A1, 0, 1)
    program.jump_if(A3, "!=", A2, "next_byte", wide=True)
    program.copy(A4, A1)
    program.call("openat", AT_FDCWD, A4, O_RDONLY)
    program.jump_if(RESULT, "<", 0, "no_proc")
    program.store(A4, S0, BUNDLE)
    program.call("close", RESULT)
    program.jump("write_note")
    program.label("no_proc")
    program.call("close", S5)


def write_note(program: Program, settings: Settings) -> None:
    """Write the note into a buffer of its length."""
    program.label("write_note")
    prefix = settings.name + b":"
    program.set(A2, len(prefix) + 2 * NOTED + 1)
    for register, place in ((S2, LOCALE_LENGTH), (S3, LAUNCHER_LENGTH)):
        program.set(A4, 0)
        program.jump_if(register, "==", 0, f"no_value_{place}", wide=True)
        program.copy(A3, A2)
        add_length(program, register, f"value_{place}")
        program.copy(A4, A2)
        program.subtract(A4, A3)
        program.add(A4, A4, 1)
        program.label(f"no_value_{place}")
        program.store(A4, S0, place, 4)
    add_length(program, S4, "note")
    make_buffer(program)
    program.copy(A1, SP)
    program.store(A1, S0, FRAME + POINTER)
    copy_text(program, program.data("prefix", prefix + b"\0"), "prefix")

    program.copy(A3, S0)
    program.add(A4, S0, NOTED)
    program.label("next_noted")
    program.load(A2, A3, 0, 1)
    program.shift(A2, 4)
    write_digit(program, "high")
    program.load(A2, A3, 0, 1)
    program.mask(A2, 0xF)
    write_digit(program, "low")
    program.add(A3, A3, 1)
    program.jump_if(A3, "!=", A4, "next_noted", wide=True)

    for register, name in ((S2, "locale"), (S3, "launcher")):
        program.jump_if(register, "==", 0, f"no_{name}", wide=True)
        copy_text(program, register, name)
        program.label(f"no_{name}")
    copy_text(program, S4, "called")


def execute(program: Program, settings: Settings) -> None:
    """Execute the interpreter. Its arguments begin below argc and go on with the stub's own."""
    program.load(A1, S0, BUNDLE)
    program.store(A1, S0, FRAME)
    program.add(S5, S0, ARGV)
    program.label("execute")
    program.set(A1, program.data("flags", settings.flags + b"\0"))
    program.store(A1, S5, POINTER)
    program.set(S2, program.data("interpreter", settings.interpreter + b"\0"))
    program.store(S2, S5)
    program.call("execve", S2, S5, S1)


def refuse(program: Program, settings: Settings) -> None:
    """Say why the interpreter cannot be executed. Exit with 127 if it is not there, else with 126."""
    program.copy(S1, RESULT)
    program.set(S0, program.data("cannot_run", settings.cannot_run + b"\0"))
    program.set(S3, 127)
    for error in (ENOENT, ENOTDIR):
        program.jump_if(S1, "==", -error, "explain")
    program.set(S3, 126)
    explain(program, REASONS)
    complain(program)
    program.label("exit_s3")
    program.call("exit_group", S3)
    program.trap()  # a sandbox has refused that; the kernel does not drop the signal of a trap for PID 1


def jump_unless_word(program: Program, register: Register, text: bytes, label: str) -> None:
    """Go to a label unless a register holds these eight bytes. A3 is overwritten."""
    program.set(A3, program.data(f"word_{text.decode()}", text))
    program.load(A3, A3)
    program.jump_if(register, "!=", A3, label, wide=True)


def add_length(program: Program, text: Register, name: str) -> None:
    """Add the length of a text to A2. A0 and A1 are overwritten."""
    program.copy(A1, text)
    program.add(A2, A2, -1)
    program.label(f"length_{name}")
    program.load(A0, A1, 0, 1)
    program.add(A1, A1, 1)
    program.add(A2, A2, 1)
    program.jump_if(A0, "!=", 0, f"length_{name}")


def make_buffer(program: Program) -> None:
    """Move SP below a buffer of A2 bytes, and to a multiple of 16. A1 and A2 are overwritten."""
    program.add(A2, A2, 15)
    program.mask(A2, 0xFFFFFFF0)
    program.copy(A1, SP)
    program.subtract(A1, A2)
    program.copy(SP, A1)


def copy_text(program: Program, text: Union[Register, str], name: str) -> None:
    """Copy a text, at a register's address or of that name, to A1, which becomes its end. A0 and A2 are overwritten."""
    if isinstance(text, str):
        program.set(A2, text)
    else:
        program.copy(A2, text)
    program.label(f"copy_{name}")
    program.load(A0, A2, 0, 1)
    program.store(A0, A1, 0, 1)
    program.add(A2, A2, 1)
    program.add(A1, A1, 1)
    program.jump_if(A0, "!=", 0, f"copy_{name}")
    program.add(A1, A1, -1)


def write_digit(program: Program, name: str) -> None:
    """Write A2, below 16, as a hexadecimal digit to A1, which becomes its end."""
    program.jump_if(A2, "<", 10, f"decimal_{name}")
    program.add(A2, A2, ord("a") - ord("0") - 10)
    program.label(f"decimal_{name}")
    program.add(A2, A2, ord("0"))
    program.store(A2, A1, 0, 1)
    program.add(A1, A1, 1)
