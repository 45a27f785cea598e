"""The inits that are compared: a table, and a search for those that are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from collections.abc import Sequence
from typing import Optional

# Kinds. An INIT runs a main child, and its command is followed by the argv of that child. A PAUSE runs no command and
# reaps. A SUPERVISOR reaps, and the harness gives it no main child. A SLEEPER stands for a pause that does not reap.
INIT, PAUSE, SUPERVISOR, SLEEPER = "init", "pause", "supervisor", "sleeper"

# Each line is an init. `group` is the command that forwards signals to the main child's process group, "" if the init
# cannot do that. Words NAME=VALUE in front of a command are its environment, as in a shell.
#   {pyinit}, {pause}    launchers of this checkout
#   {lean}, {lean_init}  its lean pause and lean init, which exist only for some machines
#   {folder}             an empty folder
TABLE = (
    # name, kind, command, group, the command that prints its version
    ("pyinit", INIT, "{pyinit} --", "{pyinit} -g --", "{pyinit} --version"),
    ("pyinit --reap kernel", INIT, "{pyinit} --reap kernel --", "{pyinit} --reap kernel -g --", "{pyinit} --version"),
    ("tini", INIT, "tini --", "tini -g --", "tini --version"),
    ("tini-static", INIT, "tini-static --", "tini-static -g --", "tini-static --version"),
    ("docker-init", INIT, "docker-init --", "docker-init -g --", "docker-init --version"),
    ("dumb-init", INIT, "dumb-init --single-child --", "dumb-init --", "dumb-init --version"),
    ("catatonit", INIT, "catatonit --", "catatonit -g --", "catatonit --version"),
    ("s6-svscan", SUPERVISOR, "s6-svscan -t0 {folder}", "", ""),
    ("pyinit lean init", INIT, "{lean_init} --", "{lean_init} -g --", "{lean_init} --version"),
    ("pyinit pause", PAUSE, "{pause}", "", "{pause} -v"),
    ("pyinit pause (kernel)", PAUSE, "PYINIT_REAP=kernel {pause}", "", "{pause} -v"),
    ("pyinit lean", PAUSE, "{lean}", "", "{lean} -v"),
    ("catatonit -P", PAUSE, "catatonit -P", "", "catatonit --version"),
    ("sleep (as pause v3.0)", SLEEPER, "sleep infinity", "", "sleep --version"),
)

OWN = ("pyinit", "pyinit --reap kernel", "pyinit pause", "pyinit pause (kernel)", "pyinit lean",
       "pyinit lean init")

# Container engines install their inits here, outside of PATH.
HIDDEN_FOLDERS = ("/usr/libexec/podman", "/usr/libexec/docker", "/usr/lib/docker", "/usr/local/lib/docker")

AGAIN = " (again)"


@dataclass
class Init:
    """An init that can be started.

    own     whether it belongs to this project; the others are the peers that it is compared with
    given   whether the user named it on the command line
    """

    name: str
    kind: str
    command: list[str]
    group: list[str] = field(default_factory=list)
    version: str = "version unknown"
    own: bool = False
    given: bool = False

    def repeat(self) -> Init:
        """Return the same init under another name, for the A/A check of an experiment's noise."""
        return Init(self.name + AGAIN, self.kind, self.command, self.group, self.version, self.own)

    def with_command(self, command: list[str], name: str) -> Init:
        """Return the same init with another command line and name."""
        return Init(name, self.kind, command, self.group, self.version, self.own)


def find_inits(places: dict[str, str], extra: Sequence[Init]) -> list[Init]:
    """Return the inits of the table that are installed, and after them the user's.

    places: the values of the names in braces in the table's commands
    """
    found = []
    for name, kind, command, group, version in TABLE:
        argv = resolve(command, places)
        if argv:
            found.append(Init(name, kind, argv, resolve(group, places) or [], ask_version(resolve(version, places)),
                              name in OWN))
    return [*found, *extra]


def parse_extra(text: str, kind: str = INIT) -> Init:
    """Return the user's init from NAME='CMD ...'. Raises ValueError, which names the option."""
    name, sign, command = text.partition("=")
    if not (sign and name):
        raise ValueError(f"--{kind} {text!r}: expected NAME='COMMAND ARGUMENT...'")
    try:
        return Init(name, kind, parse_command(command), given=True)
    except ValueError as error:
        raise ValueError(f"--{kind} {text!r}: {error}") from None


def parse_command(text: str) -> list[str]:
    """Split the user's command line as a shell does, and find its program. Raises ValueError, which lacks the text."""
    try:
        words = shlex.split(text)
    except ValueError as error:  # a quotation without an end
        raise ValueError(f"{error}; expected a command as in a shell") from None
    environment, argv = split_environment(words)
    if not argv:
        raise ValueError("names no program; expected a command and its arguments")
    program = find_program(argv[0])
    if program is None:
        raise ValueError(f"{argv[0]} was not found; expected a program")
    return [*words[:len(environment)], program, *argv[1:]]


def resolve(command: str, places: dict[str, str]) -> Optional[list[str]]:
    """Return a command of the table with the absolute path of its program; None if it is not installed, or empty."""
    words = [word.format(**places) for word in command.split()]
    environment, argv = split_environment(words)
    program = find_program(argv[0]) if argv else None
    return [*words[:len(environment)], program, *argv[1:]] if program else None


def split_environment(command: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """Split a command into its environment, the words NAME=VALUE that it begins with, and its argv."""
    count = 0
    while count < len(command) and command[count].partition("=")[0].isidentifier() and "=" in command[count]:
        count += 1
    environment = [word.partition("=") for word in command[:count]]
    return [(name, value) for name, _, value in environment], list(command[count:])


def find_program(name: str) -> Optional[str]:
    """Return the absolute path of a program in PATH or HIDDEN_FOLDERS, or None."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(HIDDEN_FOLDERS))


def ask_version(argv: Optional[list[str]]) -> str:
    """Return the first line that a program prints about its version, or "version unknown"."""
    if not argv:
        return "version unknown"
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "version unknown"
    lines = done.stdout.decode(errors="replace").split("\n")
    return lines[0].strip() or "version unknown"
