"""Read the command line of runc or crun: the call, its bundle, and where the runtime logs; pure.

Both put global options before the call. Go's flags, those of runc, take one dash or two, a value behind `=` or as the
next argument, and may follow the container's name. crun has the short options of getopt(3), `-bDIR` and `-dbDIR`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Sequence

# Options that take a value, which may be the next argument.
GLOBAL_VALUES = ("log", "log-format", "log-level", "root", "criu", "rootless", "cgroup-manager")
START_VALUES = ("bundle", "b", "config", "f", "console-socket", "pid-file", "preserve-fds")

# Go's flags with one dash that getopt(3) would read as short options.
GO_FLAGS = ("bundle", "b", "detach", "d")

CONFIG = "config.json"

STARTS = ("create", "run")
CALLS = (*STARTS, "checkpoint", "delete", "events", "exec", "features", "help", "h", "kill", "list", "mounts", "pause",
         "ps", "restore", "resume", "spec", "start", "state", "update")


class Call:
    """What the command line asks the runtime to do."""

    def __init__(self) -> None:
        self.name = ""  # "" without one, as with --version
        self.starts = False  # whether it starts a container from a bundle
        self.bundle = "."
        self.config = CONFIG
        self.log = ""  # the path of the log; "" is stderr, also for crun's journald and syslog
        self.json = False  # whether the log is in JSON
        self.debug = False

    def find_config(self) -> str:
        """Return the path of the container's config.json. crun resolves any other name in the working directory."""
        return f"{self.bundle or '.'}/{CONFIG}" if self.config == CONFIG else self.config

    def is_known(self) -> bool:
        """Return whether the name is that of a call. Another name may be the value of an option not known here."""
        return not self.name or self.name in CALLS


def parse(arguments: Sequence[str]) -> Call:
    """Return the call of a command line. Unknown options are ignored."""
    call = Call()
    options, rest = read_options(arguments, GLOBAL_VALUES, 1)
    for name, value in options:
        if name == "log":
            call.log = find_log(value)
        elif name == "log-format":
            call.json = value == "json"
        elif name == "debug":
            call.debug = value.lower() not in ("false", "f", "0")
        elif name == "log-level":
            call.debug = value == "debug"
    if rest:
        call.name = rest[0]
        read_start(call, rest[1:])
    return call


def find_log(value: str) -> str:
    """Return the path of the log file, or "" if there is none. value: a path, or crun's BACKEND:SPECIFIER, crun(1)."""
    backend, sign, rest = value.partition(":")
    if sign and backend == "file":
        return rest
    return "" if sign and backend in ("journald", "syslog") else value


def read_start(call: Call, arguments: Sequence[str]) -> None:
    """Complete a call that starts a container; leave any other as it is."""
    if call.name not in STARTS:
        return
    options, _ = read_options(arguments, START_VALUES)
    call.starts = not any(name in ("help", "h") for name, _ in options)
    for name, value in options:
        if name in ("bundle", "b"):
            call.bundle = value
        elif name in ("config", "f"):
            call.config = value


def read_options(arguments: Sequence[str], valued: Sequence[str],
                 most: int = 0) -> tuple[list[tuple[str, str]], Sequence[str]]:
    """Return the options, each with its value or "", and the other arguments.

    valued: names of the options that take a value. most: after so many other arguments, take all that follow as others.
    """
    options: list[tuple[str, str]] = []
    others: list[str] = []
    position = 0
    while position < len(arguments):
        argument = arguments[position]
        position += 1
        if argument == "--":
            others += arguments[position:]
            break
        if argument[:1] != "-" or argument == "-":
            others.append(argument)
            if len(others) == most:
                return options, [*others, *arguments[position:]]
            continue
        name, value = split_option(argument)
        if value is None and name in valued and position < len(arguments):
            value = arguments[position]
            position += 1
        options.append((name, value or ""))
    return options, others


def split_option(argument: str) -> tuple[str, Optional[str]]:
    """Return an option's name without dashes, and its value, or None if the argument has none."""
    name, sign, value = argument.lstrip("-").partition("=")
    if argument[:2] != "--" and name not in GO_FLAGS:
        short = argument[1:].lstrip("d")  # --detach, which takes no value
        if short[:1] in ("b", "f"):
            return short[0], short[1:] or None
    return name, value if sign else None
