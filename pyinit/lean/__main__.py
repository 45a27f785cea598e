"""Write a lean program, or an image of one: `pyinit-lean init OUT`, `pyinit-lean image OUT.tar`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Collection
from typing import Optional

from ..destination import ToolError, check_destination, print_paths, resolve, write_file
from . import MACHINES, PROGRAMS, build

IMAGE = "image"
KINDS = (*PROGRAMS, IMAGE)


def main() -> int:
    """Run the command line: print the path of what was written and return 0, or say what was wrong and return 1."""
    parser = argparse.ArgumentParser(
        prog="pyinit-lean", description="Write a static program that needs no interpreter: the lean init, which runs "
        "a command, the lean pause, which only reaps, or the lean probe, which asks whether a container's init reaps; "
        "or a container image of one for each machine.")
    parser.add_argument("kind", metavar=" | ".join(KINDS), help=f"the program; {IMAGE}: an OCI archive")
    parser.add_argument("out", metavar="OUT", help="the path to write")
    parser.add_argument("--machine", help=f"{' or '.join(MACHINES)} (default: this machine)")
    parser.add_argument("--program", help=f"what is in the image: {' or '.join(PROGRAMS)} (default: pause)")
    arguments = parser.parse_args()
    try:
        content, what = make(arguments.kind, arguments.machine, arguments.program)
        path = resolve(arguments.out, what)
        check_destination(path, what)
        write_file(path, content, 0o644 if arguments.kind == IMAGE else 0o755)
        print_paths([path])
    except ToolError as error:
        print(f"pyinit-lean: {error}", file=sys.stderr)
        return 1
    return 0


def make(kind: str, machine: Optional[str], program: Optional[str]) -> tuple[bytes, str]:
    """Return the content to write, and what to call its file in an error's text. Raises ToolError."""
    check(kind, KINDS, "")
    if kind == IMAGE:
        if machine is not None:
            raise ToolError(f"--machine {machine!r}: an image has a program for each machine; expected none")
        check(program, PROGRAMS, "--program ", "pause")
        from .image import write  # Debian's python3-minimal has no json, and a program can be written without it

        return write(program or "pause"), "the archive itself"
    if program is not None:
        raise ToolError(f"--program {program!r}: expected only with {IMAGE}")
    return build(kind, check(machine, MACHINES, "--machine ", os.uname().machine)), "the program itself"


def check(value: Optional[str], known: Collection[str], option: str, default: str = "") -> str:
    """Return the value, or the default for None. Raises ToolError if it is not in `known`."""
    value = default if value is None else value
    if value not in known:
        *names, last = known
        raise ToolError(f"{option}{value!r}: expected {', '.join(names)} or {last}")
    return value


if __name__ == "__main__":
    sys.exit(main())
