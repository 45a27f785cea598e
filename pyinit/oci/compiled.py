"""Compile the runtime's modules for the installed script. The interpreter that will load them has to run this.

`PYTHON -IS compiled.py` writes a marshalled pair to stdout: the interpreter's magic number, and a dictionary from
module names to marshalled code. Each module is executed when it is first imported.
"""

from __future__ import annotations

import marshal
import os
import sys
from importlib.util import MAGIC_NUMBER

ROOT = os.path.dirname(os.path.abspath(__file__)) + "/../.."
if __name__ == "__main__":
    sys.path.insert(0, ROOT)

from pyinit.launcher.bundle import compile_module  # noqa: E402

PACKAGES = ("pyinit", "pyinit.linux", "pyinit.oci")
MODULES = (*PACKAGES, "pyinit.linux.files", *(f"pyinit.oci.{name}" for name in (
    "arguments", "config_file", "decide", "document", "edit", "log_line", "odd", "program", "runtime")))


def find_source(name: str) -> str:
    """Return the path of a module's source, relative to the folder of the package."""
    return name.replace(".", "/") + ("/__init__.py" if name in PACKAGES else ".py")


if __name__ == "__main__":
    modules = {name: marshal.dumps(compile_module(ROOT, find_source(name))) for name in MODULES}
    sys.stdout.buffer.write(marshal.dumps((MAGIC_NUMBER, modules)))
