"""A shell outside of pyinit at a pseudo-terminal, to start, stop and continue jobs as a user does."""

from __future__ import annotations

import time

from support.proc import read_stat, read_status, session_members
from support.processes import Running
from support.settings import DEADLINE
from support.terminal import Terminal
from support.waiting import wait_until

CTRL_C, CTRL_Z = b"\x03", b"\x1a"


class Shell:
    """An interactive shell that leads the session of a terminal."""

    def __init__(self, terminal: Terminal, running: Running) -> None:
        self.terminal = terminal
        self.running = running
        terminal.read_until(b"next> ")

    def type(self, line: str) -> None:
        """Type a line."""
        self.terminal.type(line.encode() + b"\n")

    def run(self, line: str) -> bytes:
        """Type a line and return what is printed until the next prompt."""
        self.type(line)
        return self.terminal.read_until(b"next> ")

    def start(self, command: str) -> None:
        """Start a command in the foreground, and wait until the shell has printed that it starts it: until then bash
        reads keys in its own terminal mode.
        """
        self.type(f"echo started; {command}")
        self.see("started")

    def start_cat(self, front: str) -> None:
        """Start a cat under `front`, and wait until it has read a line."""
        self.start(f"{front} cat")
        self.type("one")
        self.see("one\r\none")

    def stop(self) -> None:
        """Stop the job by Ctrl-Z, and check that the shell has noticed it.

        The shell learns of the stop as soon as the job's first process has stopped. A cat that has not stopped by then
        would read the next line that is typed, so wait for each program.
        """
        self.terminal.type(CTRL_Z)
        self.terminal.read_until(b"next> ")
        wait_until(lambda: all(read_stat(pid)[:1] == ["T"] for pid in session_members(self.running.process.pid)
                               if read_status(pid).get("Name") in ("cat", "sleep")), "each program to stop")
        assert b"topped" in self.run("jobs")

    def fg(self) -> None:
        """Type `fg`, and wait until the shell has printed the job's whole line. What is typed before would be shown
        within the line.
        """
        self.type("fg")
        self.see("fg")
        self.terminal.read_until(b"\r\n")

    def see(self, text: str) -> None:
        """Wait until the terminal shows a whole line."""
        self.terminal.read_until(text.encode() + b"\r\n")

    def wait_for_stop(self) -> None:
        """Run `jobs` until the shell says that its job is stopped."""
        end = time.monotonic() + DEADLINE
        while b"topped" not in self.run("jobs"):
            assert time.monotonic() < end, "the shell was not told that its job has stopped"

    def exit(self) -> None:
        """Leave the shell; it does not warn, as no job is left."""
        self.type("exit 9")
        assert self.running.process.wait(DEADLINE) == 9
