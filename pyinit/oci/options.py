"""The options of pyinit-install for the OCI runtime. They are not in install.py, because that imports more."""

from __future__ import annotations

import argparse

from ..destination import ToolError


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the runtime's options to those of the launcher."""
    group = parser.add_argument_group("an OCI runtime that puts an init into containers")
    group.add_argument("--oci-runtime", action="store_true", help="write it at DEST, and the lean init as DEST.init")
    group.add_argument("--runtime", metavar="PATH", help="the real runtime, which it executes (default: runc or crun)")
    group.add_argument("--init", metavar="PATH", help="use this static init instead of the lean one")
    group.add_argument("--only-annotated", action="store_true",
                       help='only into containers with the annotation pyinit.init/inject: "true"')


def check_options(arguments: argparse.Namespace) -> None:
    """Raise ToolError if options do not go together."""
    if arguments.oci_runtime and arguments.pause:
        raise ToolError("--oci-runtime and --pause: expected one of them")
    if not arguments.oci_runtime:
        for name in ("runtime", "init", "only_annotated"):
            if getattr(arguments, name):
                raise ToolError(f"--{name.replace('_', '-')}: expected only with --oci-runtime")
