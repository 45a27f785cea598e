"""Compile the package into one .pyc file for a launcher. The interpreter that will load the file has to run this.

`PYTHON -IS bundle.py PERSONALITY` writes the file to stdout. It is one file, not a folder: nine imports from a folder
cost 0.7 ms of opening and reading, and 0.1 ms from a bundle. First come the modules of the init path, in the order in
which they import each other, then all others, each of which is read when it is first imported.

A bundle is complete, so that a launcher can start with one that another installation wrote, if both have the same
protocol. The header is that of a .pyc, PEP 552, in which byte 8 is the protocol's number and bytes 9 to 11 are the size
of what each start needs: LOADER's code, then a tuple, then the tuple's size in four bytes. The tuple has the modules of
the init path, and for each other module its offset behind this part, its size, and whether it is a package. The file
ends with the version that it is for, of VERSION_SIZE bytes, and NO_ARCHIVE.

For a stub, the interpreter executes the file as a script, and the stub's note is the first argument. A launcher that is
a script executes the code itself, with FILE, the file's descriptor, and HEADER as its globals, and then calls
pyinit.main.main(ENTRY_MASK, NAME).
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

# The modules that each start imports, each after those that it imports itself; "*" is the personality's module.
SHARED_PATH = ("pyinit", "pyinit.log", "pyinit.options", "pyinit.linux", "pyinit.linux.files", "pyinit.linux.note",
               "pyinit.linux.signals", "pyinit.main", "pyinit.cli", "pyinit.cli.*", "pyinit.supervisor",
               "pyinit.supervisor.reaper")
INIT_PATH = (*SHARED_PATH, "pyinit.child", "pyinit.child.spawn", "pyinit.supervisor.loop")
PAUSE_PATH = (*SHARED_PATH, "pyinit.linux.output", "pyinit.supervisor.pause")
# The tools of the package, which no launcher imports.
NOT_BUNDLED = ("pyinit.__main__", "pyinit.destination", "pyinit.launcher", "pyinit.lean", "pyinit.oci",
               "pyinit.zombies")

# A launcher and a bundle of different protocols do not go together. Increase it with every change of what they share.
PROTOCOL = 2
VERSION_SIZE = 16
# The interpreter checks whether its script is a zip archive, and searches the last 64 kB for that. The end of an
# archive with an impossible size makes it give up at once, which saves 20 us of a start.
NO_ARCHIVE = b"PK\5\6" + bytes(8) + b"\xff\xff\xff\x7f" + bytes(6)

# The descriptor stays open, so that the modules are read from the same file even if it is removed or replaced while
# pyinit runs. It must not take the place of a closed stdio descriptor, and close-on-exec keeps it from the main child,
# fcntl(2) F_DUPFD_CLOEXEC. If the file is overwritten in place, as by cp(1), its header shows it. The header is read
# last, because cp(1) writes the beginning first.
#
# A stub has opened the file, and names it by its descriptor if there is /proc.
#
# First it tries whether there are 2 MB, which are enough until the main child has ended: CPython with less gives errors
# of its own kind, or a segmentation fault, and that after the main child has started. They are from calloc(3), and use
# no page.
#
# The script of a launcher explains what goes wrong here; for a stub, nobody else does.
#
# A garbage collection would walk through everything that is loaded, to no effect: pyinit makes no cycles.
LOADER = """
import posix

SCRIPT = "FILE" not in globals()
try:
    bytes(1 << 21)
    import gc, marshal, sys
    from _frozen_importlib import ModuleSpec

    gc.disable()
    if SCRIPT:
        PATH = sys.argv[0]
        if PATH.startswith("/proc/self/fd/"):
            FILE = int(PATH[14:])
            posix.set_inheritable(FILE, False)
        else:
            FILE = posix.open(PATH, posix.O_CLOEXEC)
        HEADER = posix.pread(FILE, 16, 0)
    END = 16 + int.from_bytes(HEADER[9:12], "little")
    SIZE = int.from_bytes(posix.pread(FILE, 4, END - 4), "little")
    NOW, LATER = marshal.loads(posix.pread(FILE, SIZE, END - 4 - SIZE))
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
except BaseException as error:
    if not SCRIPT:
        raise
    try:
        REASON = b"out of memory" if isinstance(error, MemoryError) else b"%r" % error
        posix.write(2, b"pyinit: cannot load the package: " + REASON + b"\\n")
    finally:
        posix._exit(1)
if SCRIPT:
    from pyinit.main import main
    main(noted=True)
"""


def build(root: str, personality: str) -> bytes:
    """Return the package below the folder `root` as a .pyc file. `personality` is the module of the personality that
    the launcher mostly has.

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
    contents = marshal.dumps((modules, later))
    start = marshal.dumps(compile(LOADER, "bundle.py", "exec", dont_inherit=True, optimize=2))
    start += contents + len(contents).to_bytes(4, "little")
    rest += (b"CPython %d.%d" % sys.version_info[:2]).rjust(VERSION_SIZE) + NO_ARCHIVE
    # The flags are those of a hash-based .pyc that is not checked against a source.
    header = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes([PROTOCOL]) + len(start).to_bytes(3, "little")
    return header + source_hash(0, start + rest)[:4] + start + rest


def find_modules(root: str) -> dict[str, str]:
    """Return every module that a launcher may import, with its file below the folder `root`. They are in order of name,
    so that the bundle's bytes are always the same.
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
    """Return the package from which relative imports in a module start: the module itself if it is a package."""
    return name if files[name].endswith("__init__.py") else name.rpartition(".")[0]


def compile_module(root: str, path: str) -> CodeType:
    """Return the code of one module without docstrings. Its file name is relative, so it never depends on `root`."""
    with open(f"{root}/{path}", encoding="utf-8") as file:
        tree = compile(file.read(), path, "exec", ast.PyCF_ONLY_AST, dont_inherit=True, optimize=2)
    return compile(Strip().visit(tree), path, "exec", dont_inherit=True, optimize=2)


class Strip(ast.NodeTransformer):
    """Removes what costs time at start and has no effect: annotations, and the imports that only these need."""

    def visit_ImportFrom(self, node: ast.ImportFrom) -> Optional[ast.AST]:
        """Remove `from __future__`: the code is compiled without annotations."""
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> Optional[ast.AST]:
        """Remove the block under `if TYPE_CHECKING:`."""
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> Optional[ast.AST]:
        """Make an annotated assignment a plain one; remove an annotation without a value."""
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Remove the annotation of the return value."""
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Remove the annotation of an argument."""
        node.annotation = None
        return node


if __name__ == "__main__":
    sys.stdout.buffer.write(build(os.path.dirname(os.path.abspath(__file__)) + "/../..", sys.argv[1]))
