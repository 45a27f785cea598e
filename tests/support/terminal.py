"""A pseudo-terminal, on which a test types keys and reads what programs print."""

from __future__ import annotations

import fcntl
import os
import select
import termios
import time
from typing import TYPE_CHECKING

from support.processes import Command, PopenOptions, Running, check_messages
from support.settings import DEADLINE

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Terminal:
    """A pseudo-terminal whose slave is a program's controlling terminal, pty(7)."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.seen = b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.master)
        os.close(self.slave)

    def start(self, argv: Command, mode: str = "", controlling: bool = True, **popen: Unpack[PopenOptions]) -> Running:
        """Start a program as a session leader, with this as its controlling terminal unless `controlling` is false."""
        settings: PopenOptions = {"stdin": self.slave, "stdout": self.slave, "stderr": self.slave, **popen}
        prepare = settings.get("preexec_fn")

        def take_terminal() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)
            if prepare:
                prepare()

        if controlling:
            settings["preexec_fn"] = take_terminal
        return Running(argv, mode, **settings)

    def type(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self.master, keys)

    def read_until(self, text: bytes) -> bytes:
        """Read until the program prints a text; return what it has printed since the last call, up to that text."""
        end = time.monotonic() + DEADLINE
        while text not in self.seen:
            if not select.select([self.master], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {text!r} in {DEADLINE} s, but {self.seen!r}")
            self.seen += os.read(self.master, 65536)
        before, _, self.seen = self.seen.partition(text)
        check_messages(before)
        return before + text

    def foreground(self) -> int:
        """Return the foreground process group by its number on this machine."""
        return os.tcgetpgrp(self.master)
