"""Compiles the package into one .pyc file for a launcher; run by the very interpreter that is to load it.

`PYTHON -IS bundle.py PERSONALITY` writes the file to stdout. One file in place of a folder of them: nine imports from a
folder cost 0.7 ms of opening and reading, from a bundle 0.1. First come the modules of the init path, in the order in
which they import each other, then all others, each of which is read when it is first imported.

A bundle is complete, so that a launcher can start with one that another installation wrote, as long as both keep to one
protocol: the header is that of a .pyc, PEP 552, in which byte 8 is the protocol's number and bytes 9 to 11 are the size
of the code that follows. That is executed with the file's descriptor as FILE, after which
pyinit.main.main(ENTRY_MASK, NAME) can be called.
"""

from __future__ import annotations

import marshal
import sys
from _ast import AST, Assign, AnnAssign, ImportFrom, PyCF_ONLY_AST
from _frozen_importlib_external import MAGIC_NUMBER
from _imp import source_hash
from posix import listdir

# Imported by each start, each after those that it imports itself; "*" is the personality's module.
INIT_PATH = ("pyinit", "pyinit.files", "pyinit.log", "pyinit.options", "pyinit.signals", "pyinit.main",
             "pyinit.personalities", "pyinit.personalities.*", "pyinit.reaper", "pyinit.spawn", "pyinit.supervise")
PAUSE_PATH = ("pyinit", "pyinit.files", "pyinit.log", "pyinit.options", "pyinit.signals", "pyinit.main",
              "pyinit.personalities", "pyinit.personalities.*", "pyinit.reaper", "pyinit.lines", "pyinit.pause")
# Never imported by a launcher.
NOT_BUNDLED = ("pyinit.__main__", "pyinit.bundle", "pyinit.install", "pyinit.lean")
PACKAGES = ("pyinit", "pyinit.personalities")

# A launcher and a bundle of different protocols do not go together. Raise it with every change of what they share.
PROTOCOL = 1
HEADER_SIZE = 16

# The bundle's own code, with the descriptor that the launcher has opened as FILE in its globals. It is kept open, so
# that a file that is removed or replaced while pyinit runs is still the one that the modules are read from. It must not
# stand in for stdio that is closed, and close-on-exec keeps it from the main child, fcntl(2) F_DUPFD_CLOEXEC. One that
# is overwritten in place, as cp(1) does, is noticed by BUILD, which is read last: whoever writes a file writes its
# beginning first.
#
# "NOW", "LATER" and "BUILD" stand for constants that build() puts in their place. A garbage collection would walk
# through all that is loaded, for nothing: pyinit makes no cycles.
LOADER = """
import gc, marshal, posix, sys
from _frozen_importlib import ModuleSpec

gc.disable()
stdio = []
while FILE < 3:
    stdio.append(FILE)
    FILE = posix.dup(FILE)
for descriptor in stdio:
    posix.close(descriptor)

class Bundle:
    def find_spec(name, path=None, target=None):
        if name in "LATER":
            return ModuleSpec(name, Bundle)

    def create_module(spec):
        return None

    def exec_module(module):
        offset, length = "LATER"[module.__name__]
        try:
            code = posix.pread(FILE, length, offset)
            build = posix.pread(FILE, 8, 8)
        except OSError as error:
            raise ImportError("the bundle cannot be read: " + error.strerror)
        if build != "BUILD" or len(code) < length:
            raise ImportError("the bundle has been overwritten")
        exec(marshal.loads(code), module.__dict__)

sys.meta_path.insert(0, Bundle)
for name, package, code in "NOW":
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
    now = [name.replace("*", personality) for name in (PAUSE_PATH if personality == "pause" else INIT_PATH)]
    modules = tuple((name, package_of(name), compile_module(root, name)) for name in now)
    rest, index = b"", {}
    for name in find_modules(root):
        if name not in now:
            code = marshal.dumps(compile_module(root, name))
            index[name] = len(rest), len(code)
            rest += code
    content = source_hash(0, marshal.dumps(modules) + rest)
    loader = compile(LOADER, "bundle.py", "exec", dont_inherit=True, optimize=2)
    code, size = b"", -1
    while len(code) != size:  # the code holds its own size, in numbers of one length: two rounds
        size = len(code)
        build = bytes([PROTOCOL]) + size.to_bytes(3, "little") + content[:4]
        later = {name: (HEADER_SIZE + size + offset, length) for name, (offset, length) in index.items()}
        code = marshal.dumps(replace_constants(loader, {"NOW": modules, "LATER": later, "BUILD": build}))
    # The flags are those of a hash-based .pyc that is not checked against a source.
    return MAGIC_NUMBER + (1).to_bytes(4, "little") + build + code + rest


def find_modules(root: str) -> list[str]:
    """Every module that a launcher may import, in order of name, so that the bundle's bytes are always the same."""
    names = []
    for package in PACKAGES:
        for file in sorted(listdir(f"{root}/{package.replace('.', '/')}")):
            if file.endswith(".py"):
                names.append(f"{package}.{file[:-3]}".replace(".__init__", ""))
    return [name for name in names if name not in NOT_BUNDLED]


def replace_constants(code, constants: dict[str, object]):
    """The code with other constants in place of the strings that name them, in nested code too."""
    return code.replace(co_consts=tuple(
        replace_constants(constant, constants) if isinstance(constant, type(code))
        else constants.get(constant, constant) if isinstance(constant, str) else constant
        for constant in code.co_consts))


def package_of(name: str) -> str:
    """The package that relative imports in a module start from: its own name if it is one."""
    return name if name in PACKAGES else name.rpartition(".")[0]


def compile_module(root: str, name: str):
    """The code of one module without docstrings; its file name in it is the same wherever it was compiled."""
    path = name.replace(".", "/") + ("/__init__.py" if name in PACKAGES else ".py")
    with open(f"{root}/{path}", encoding="utf-8") as file:
        tree = compile(file.read(), path, "exec", PyCF_ONLY_AST, dont_inherit=True, optimize=2)
    strip(tree)
    return compile(tree, path, "exec", dont_inherit=True, optimize=2)


def strip(tree: AST) -> None:
    """Take out what costs at start and does nothing: annotations, and with them the need to import __future__."""
    for field in tree._fields:
        value = getattr(tree, field, None)
        if field in ("returns", "annotation"):
            setattr(tree, field, None)
        elif isinstance(value, AST):
            strip(value)
        elif isinstance(value, list):
            value[:] = [without_annotation(node) for node in value
                        if not (isinstance(node, ImportFrom) and node.module == "__future__")]
            for node in value:
                if isinstance(node, AST):
                    strip(node)


def without_annotation(node):
    """`x = 1` for `x: int = 1`; other nodes as they are."""
    if isinstance(node, AnnAssign):
        return Assign([node.target], node.value, lineno=node.lineno, col_offset=node.col_offset)
    return node


if __name__ == "__main__":
    sys.stdout.buffer.write(build(__file__.rpartition("/")[0] + "/..", sys.argv[1]))
