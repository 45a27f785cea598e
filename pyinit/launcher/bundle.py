"""Compiles the package into one .pyc file for a launcher; run by the very interpreter that is to load it.

`PYTHON -IS bundle.py PERSONALITY` writes the file to stdout. One file, not a folder of them: nine imports from a
folder cost 0.7 ms of opening and reading, from a bundle 0.1. First come the modules of the init path, in the order in
which they import each other, then all others, each of which is read when it is first imported.

A bundle is complete, so that a launcher can start with one that another installation wrote, as long as both keep to one
protocol. The header is that of a .pyc, PEP 552, in which byte 8 is the protocol's number and bytes 9 to 11 are the size
of what follows: a marshalled tuple of LOADER's code, the modules of the init path, and for each other module where it
stands, counted from the end of that tuple, its size, and whether it is a package. LOADER is executed with FILE, the
file's descriptor, HEADER, NOW and LATER as its globals; after that pyinit.main.main(ENTRY_MASK, NAME) can be called.
"""

from __future__ import annotations

import ast
import marshal
import os
import sys
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import source_hash
from types import CodeType
from typing import Optional

# Imported by each start, each after those that it imports itself; "*" is the personality's module.
SHARED_PATH = ("pyinit", "pyinit.log", "pyinit.options", "pyinit.linux", "pyinit.linux.files", "pyinit.linux.signals",
               "pyinit.main", "pyinit.cli", "pyinit.cli.*", "pyinit.supervisor", "pyinit.supervisor.reaper")
INIT_PATH = (*SHARED_PATH, "pyinit.child", "pyinit.child.spawn", "pyinit.supervisor.loop")
PAUSE_PATH = (*SHARED_PATH, "pyinit.linux.output", "pyinit.supervisor.pause")
# The tools of the package, which no launcher imports.
NOT_BUNDLED = ("pyinit.__main__", "pyinit.destination", "pyinit.launcher", "pyinit.lean", "pyinit.zombies")

# A launcher and a bundle of different protocols do not go together. Raise it with every change of what they share.
PROTOCOL = 1

# The descriptor is kept open, so that a file that is removed or replaced while pyinit runs is still the one that the
# modules are read from. It must not stand in for stdio that is closed, and close-on-exec keeps it from the main child,
# fcntl(2) F_DUPFD_CLOEXEC. A file that is overwritten in place, as cp(1) does, is noticed by its header, which is read
# last: cp(1) writes the beginning first.
#
# A garbage collection would walk through all that is loaded, for nothing: pyinit makes no cycles.
LOADER = """
import gc, marshal, posix, sys
from _frozen_importlib import ModuleSpec

gc.disable()
END = 16 + int.from_bytes(HEADER[9:12], "little")
stdio = []
while FILE < 3:
    stdio.append(FILE)
    FILE = posix.dup(FILE)
for descriptor in stdio:
    posix.close(descriptor)

class Bundle:
    def find_spec(name, path=None, target=None):
        if name in LATER:
            return ModuleSpec(name, Bundle, is_package=LATER[name][2])

    def create_module(spec):
        return None

    def exec_module(module):
        offset, length, _ = LATER[module.__name__]
        try:
            code = posix.pread(FILE, length, END + offset)
            header = posix.pread(FILE, 16, 0)
        except OSError as error:
            raise ImportError("the bundle cannot be read: " + error.strerror)
        if header != HEADER or len(code) < length:
            raise ImportError("the bundle has been overwritten")
        exec(marshal.loads(code), module.__dict__)

sys.meta_path.insert(0, Bundle)
for name, package, code in NOW:
    module = sys.modules[name] = type(sys)(name)
    module.__package__ = package
    if name == package:
        module.__path__ = []
    exec(code, module.__dict__)
sys.modules["pyinit"].bundle_file = FILE
"""


def build(root: str, personality: str) -> bytes:
    """The package below the folder `root` as a .pyc file, for a launcher that mostly is `personality`, a module's name.

    Raises OSError, SyntaxError.
    """
    files = find_modules(root)
    now = [name.replace("*", personality) for name in (PAUSE_PATH if personality == "pause" else INIT_PATH)]
    modules = tuple((name, package_of(name, files), compile_module(root, files[name])) for name in now)
    rest, later = b"", {}
    for name, file in files.items():
        if name not in now:
            code = marshal.dumps(compile_module(root, file))
            later[name] = len(rest), len(code), package_of(name, files) == name
            rest += code
    loader = compile(LOADER, "bundle.py", "exec", dont_inherit=True, optimize=2)
    start = marshal.dumps((loader, modules, later))
    # The flags are those of a hash-based .pyc that is not checked against a source.
    header = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes([PROTOCOL]) + len(start).to_bytes(3, "little")
    return header + source_hash(0, start + rest)[:4] + start + rest


def find_modules(root: str) -> dict[str, str]:
    """Every module that a launcher may import, and its file below the folder `root`, in order of name, so that the
    bundle's bytes are always the same.
    """
    found = {}
    for folder, _, names in os.walk(f"{root}/pyinit"):
        package = os.path.relpath(folder, root).replace("/", ".")
        for name in names:
            module = package if name == "__init__.py" else f"{package}.{name[:-3]}"
            tool = any(f"{module}.".startswith(f"{other}.") for other in NOT_BUNDLED)
            if name.endswith(".py") and not tool:
                found[module] = os.path.relpath(os.path.join(folder, name), root)
    return dict(sorted(found.items()))


def package_of(name: str, files: dict[str, str]) -> str:
    """The package that relative imports in a module start from: its own name if it is one."""
    return name if files[name].endswith("__init__.py") else name.rpartition(".")[0]


def compile_module(root: str, path: str) -> CodeType:
    """The code of one module without docstrings; its file name in it is the same wherever it was compiled."""
    with open(f"{root}/{path}", encoding="utf-8") as file:
        tree = compile(file.read(), path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True, optimize=2)
    return compile(Strip().visit(tree), path, "exec", dont_inherit=True, optimize=2)


class Strip(ast.NodeTransformer):
    """Takes out what costs at start and does nothing: annotations, and the imports that only these need."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Optional[ast.AST]:
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> Optional[ast.AST]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Optional[ast.AST]:
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


if __name__ == "__main__":
    sys.stdout.buffer.write(build(os.path.dirname(os.path.abspath(__file__)) + "/../..", sys.argv[1]))
