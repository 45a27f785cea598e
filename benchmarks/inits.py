"""The inits that are compared: one table, and finding out which of them are installed."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import Optional, Sequence

# Kinds: an INIT runs a main child, whose argv is put behind its command; a PAUSE has none and reaps; a SUPERVISOR has
# none of the harness's either; a SLEEPER stands for a pause that does not reap.
INIT, PAUSE, SUPERVISOR, SLEEPER = "init", "pause", "supervisor", "sleeper"

# An init is one line here. {pyinit} and {pause} are fresh launchers, {lean} is a fresh lean pause and {lean_init} a
# fresh lean init, no programs on a machine that has none, and {folder} is an empty folder. Words NAME=VALUE in front of
# a command are its environment, as in a shell. `group` is the command that forwards to the main child's whole process
# group; "" when there is none.
TABLE = (
    # name, kind, command, group, how its version is asked for
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

# Where inits are installed that are not meant to be started by hand.
HIDDEN_FOLDERS = ("/usr/libexec/podman", "/usr/libexec/docker", "/usr/lib/docker", "/usr/local/lib/docker")

AGAIN = " (again)"


@dataclass
class Init:
    """An init that can be started. `own` is whether it is the project's, and so compared with the best peer."""

    name: str
    kind: str
    command: list[str]
    group: list[str] = field(default_factory=list)
    version: str = "version unknown"
    own: bool = False

    def repeat(self) -> Init:
        """The same init once more, for the A/A check of an experiment's noise."""
        return Init(self.name + AGAIN, self.kind, self.command, self.group, self.version, self.own)

    def with_command(self, command: list[str], name: str) -> Init:
        """The same init with another command line."""
        return Init(name, self.kind, command, self.group, self.version, self.own)


def find_inits(places: dict[str, str], extra: Sequence[Init]) -> list[Init]:
    """The inits of the table that are installed, and the user's own.

    places: what the names in braces in the table's commands stand for.
    """
    found = []
    for name, kind, command, group, version in TABLE:
        argv = resolve(command, places)
        if argv:
            found.append(Init(name, kind, argv, resolve(group, places) or [], ask_version(resolve(version, places)),
                              name in OWN))
    return [*found, *extra]


def parse_extra(text: str, kind: str = INIT) -> Init:
    """An init of the user's from NAME='CMD ...'; a main child's argv is put behind CMD. Raises ValueError."""
    name, sign, command = text.partition("=")
    if not (sign and name):
        raise ValueError(f"--{kind} {text!r}: expected NAME='COMMAND ARGUMENT...'")
    try:
        return Init(name, kind, parse_command(command))
    except ValueError as error:
        raise ValueError(f"--{kind} {text!r}: {error}") from None


def parse_command(text: str) -> list[str]:
    """A command line of the user's, as in a shell, with an absolute program. Raises ValueError, without the text."""
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
    """A command of the table with an absolute program; None when it is not installed, or empty."""
    words = [word.format(**places) for word in command.split()]
    environment, argv = split_environment(words)
    program = find_program(argv[0]) if argv else None
    return [*words[:len(environment)], program, *argv[1:]] if program else None


def split_environment(command: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """A command's environment, the words NAME=VALUE that it begins with, and its argv."""
    count = 0
    while count < len(command) and command[count].partition("=")[0].isidentifier() and "=" in command[count]:
        count += 1
    environment = [word.partition("=") for word in command[:count]]
    return [(name, value) for name, _, value in environment], list(command[count:])


def find_program(name: str) -> Optional[str]:
    """The absolute path of a program from PATH or the folders where container engines keep their inits."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(HIDDEN_FOLDERS))


def ask_version(argv: Optional[list[str]]) -> str:
    """The first line that a program prints about its version."""
    if not argv:
        return "version unknown"
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "version unknown"
    lines = done.stdout.decode(errors="replace").split("\n")
    return lines[0].strip() or "version unknown"
