"""pyinit in one of its modes, and a stand-in that does not reap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.processes import Argument, Command, PopenOptions, Result, Running, run, source
from support.settings import NAMESPACE

if TYPE_CHECKING:
    from typing_extensions import Unpack

STAND_IN = source("stand_in")


class Init:
    """A way to run pyinit: its program, the mode in which it gets orphans (pid1 or subreaper), and what reaps them."""

    def __init__(self, mode: str, program: Command, reaper: str = "wait") -> None:
        self.mode = mode
        self.program = list(program)
        self.reaper = reaper

    def argv(self, command: Command, options: Command = (), inside: Command = ()) -> list[Argument]:
        """Return the whole command line. inside: a program that executes pyinit in its namespace: `prlimit`, `env`."""
        own = ["-s"] if self.mode == "subreaper" else []
        own += ["--reap", self.reaper] if self.reaper != "wait" else []
        return [*self.prefix(), *inside, *self.program, *own, *options, "--", *command]

    def prefix(self) -> list[str]:
        """Return the command that makes the program PID 1, or []."""
        return NAMESPACE if self.mode == "pid1" else []

    def run(self, command: Command, options: Command = (), inside: Command = (),
            **popen: Unpack[PopenOptions]) -> Result:
        """Run a command under pyinit to its end."""
        return run(self.argv(command, options, inside), **popen)

    def start(self, command: Command, options: Command = (), inside: Command = (),
              **popen: Unpack[PopenOptions]) -> Running:
        """Start a command under pyinit; use it in a `with`."""
        return Running(self.argv(command, options, inside), self.mode, **popen)


class LeanInit(Init):
    """A lean init for some machine: it has only -g and -s, and prints no messages."""

    def __init__(self, mode: str, program: Command) -> None:
        super().__init__(mode, program, "lean")

    def argv(self, command: Command, options: Command = (), inside: Command = ()) -> list[Argument]:
        """Return the whole command line, without the options that a lean init lacks."""
        own = ["-s"] if self.mode == "subreaper" else []
        own += ["-g"] if "-g" in options else []
        return [*self.prefix(), *inside, *self.program, *own, "--", *command]
