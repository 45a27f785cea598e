"""Execute a command as execvp(3) finds it, in the lean init's main child.

The registers that keep their meaning:

    S0  argv
    S1  the environment
    S2  the name of the command
    S3  the place in PATH, 0 if there is no search
    S4  the error to end with if no folder has the command
    S5  the path
"""

from __future__ import annotations

from .assembler import A0, A1, A2, A3, RESULT, S0, S1, S2, S3, S4, S5, SP, Program
from .kernel import (AT_FDCWD, EACCES, ENAMETOOLONG, ENODEV, ENOENT, ENOEXEC, ENOTDIR, ESTALE, ETIMEDOUT, NAME_MAX,
                     O_CLOEXEC, O_RDONLY, PATH_MAX)
from .macros import pass_over_arguments

# The buffer of a path, below the stack pointer.
BUFFER = PATH_MAX + 512


def execute(program: Program) -> None:
    """Execute the command, or go to "refused" with the error in RESULT. S0 and S2 are given."""
    find_environment(program)
    look_for_slash(program)
    check_name(program)
    find_path_variable(program)
    make_path(program)
    try_path(program)
    choose_next_folder(program)


def find_environment(program: Program) -> None:
    """Find the environment, which is behind argv and its 0; make room for a path."""
    program.add(SP, SP, -BUFFER)
    program.copy(S1, S0)
    pass_over_arguments(program)


def look_for_slash(program: Program) -> None:
    """Go to "execute" for a name with a slash, which is a path already. A1 becomes the end of any other."""
    program.copy(S5, S2)
    program.set(S3, 0)
    program.copy(A1, S2)
    program.label("find_slash")
    program.load(A2, A1, 0, 1)
    program.add(A1, A1, 1)
    program.jump_if(A2, "==", ord("/"), "execute")
    program.jump_if(A2, "!=", 0, "find_slash")


def check_name(program: Program) -> None:
    """Refuse a name that is too long, and an empty one. A1: its end."""
    program.subtract(A1, S2)
    program.set(RESULT, -ENAMETOOLONG)
    program.jump_if(A1, ">", NAME_MAX + 1, "refused")
    program.set(RESULT, -ENOENT)
    program.jump_if(A1, "==", 1, "refused")  # an empty name
    program.copy(S4, RESULT)


def find_path_variable(program: Program) -> None:
    """Find the value of PATH, or a default as in execvp(3): the first directory to try."""
    program.set(S3, program.data("default_path", b"/bin:/usr/bin\0"))
    program.copy(A1, S1)
    program.label("next_variable")
    program.load(A2, A1)
    program.jump_if(A2, "==", 0, "folder", wide=True)
    program.add(A1, A1, 8)
    program.load(A0, A2, 0, 4)
    program.jump_if(A0, "!=", word(b"PATH"), "next_variable")
    program.load(A0, A2, 4, 1)
    program.jump_if(A0, "!=", ord("="), "next_variable")
    program.add(S3, A2, 5)


def make_path(program: Program) -> None:
    """Make a path of a directory and the name; an empty directory is the current one."""
    program.label("folder")
    program.copy(S5, SP)
    program.copy(A1, SP)
    program.add(A3, SP, PATH_MAX)
    program.label("copy_folder")
    program.load(A2, S3, 0, 1)
    program.jump_if(A2, "==", 0, "folder_copied")
    program.jump_if(A2, "==", ord(":"), "folder_copied")
    program.store(A2, A1, 0, 1)
    program.add(S3, S3, 1)
    program.jump_if(A1, "==", A3, "copy_folder")  # too long for the kernel
    program.add(A1, A1, 1)
    program.jump("copy_folder")
    program.label("folder_copied")
    program.jump_if(A1, "==", A3, "next_folder")
    program.copy(A0, S2)
    program.jump_if(A1, "==", S5, "copy_name")
    program.set(A2, ord("/"))
    program.store(A2, A1, 0, 1)
    program.add(A1, A1, 1)
    program.label("copy_name")
    program.load(A2, A0, 0, 1)
    program.store(A2, A1, 0, 1)
    program.add(A0, A0, 1)
    program.add(A1, A1, 1)
    program.jump_if(A2, "!=", 0, "copy_name")


def try_path(program: Program) -> None:
    """Execute the path, and refuse the command for an error that ends the search."""
    program.label("execute")
    program.call("execve", S5, S0, S1)
    program.jump_if(RESULT, "!=", -ENOEXEC, "not_executed")
    hand_to_shell(program)
    program.label("not_executed")
    program.jump_if(S3, "==", 0, "refused", wide=True)
    # These errors only say that the program is not in this folder. After EACCES, a later folder may have one that can
    # be executed.
    for error in (ENOENT, ENOTDIR, ESTALE, ENODEV, ETIMEDOUT):
        program.jump_if(RESULT, "==", -error, "next_folder")
    program.jump_if(RESULT, "!=", -EACCES, "refused")
    program.copy(S4, RESULT)


def choose_next_folder(program: Program) -> None:
    """Go on with the next directory of PATH if there is one."""
    program.label("next_folder")
    program.load(A2, S3, 0, 1)
    program.add(S3, S3, 1)
    program.jump_if(A2, "!=", 0, "folder")
    program.copy(RESULT, S4)
    program.jump("refused")


def hand_to_shell(program: Program) -> None:
    """Hand a script without #! to the shell, as execvp(3) does, but not a program of another machine."""
    program.call("openat", AT_FDCWD, S5, O_RDONLY | O_CLOEXEC)
    # In front of the command there is always another argument, argv[0] of the init or an option. Its place in argv
    # holds the first bytes of the file, and then the shell's name.
    program.add(S0, S0, -8)
    program.call("read", RESULT, S0, 4)
    program.jump_if(RESULT, "<", 0, "no_script")  # the shell cannot read it either
    program.load(A1, S0, 0, 4)
    program.jump_if(A1, "==", word(b"\x7fELF"), "no_script")
    program.set(A0, program.data("shell", b"/bin/sh\0"))
    program.store(A0, S0)
    program.store(S5, S0, 8)
    program.call("execve", None, S0, S1)
    program.label("no_script")
    program.set(RESULT, -ENOEXEC)


def word(text: bytes) -> int:
    """Return characters as the number that a load of them gives."""
    return int.from_bytes(text, "little")
