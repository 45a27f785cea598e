"""Compiles the package into one .pyc file for a launcher; run by the very interpreter that is to load it.

`PYTHON -IS bundle.py` writes the file's bytes to stdout. One file in place of a folder of them: nine imports from a
folder cost 0.7 ms of opening and reading, from a bundle 0.1. It holds the modules of the init path as code, in the
order in which they import each other, and all others as bytes that are loaded when first imported.
"""

from __future__ import annotations

import marshal
import sys
from _ast import AST, Assign, AnnAssign, ImportFrom, PyCF_ONLY_AST
from _frozen_importlib_external import MAGIC_NUMBER

# Imported by each start, each after those that it imports itself.
INIT_PATH = ("pyinit", "pyinit.log", "pyinit.options", "pyinit.signals", "pyinit.main", "pyinit.personalities",
             "pyinit.personalities.native", "pyinit.reaper", "pyinit.spawn", "pyinit.supervise")
# Imported by some starts: the pause, prctl(2), the texts.
ON_DEMAND = ("pyinit.pause", "pyinit.personalities.pause", "pyinit.personalities.native_texts", "pyinit.prctl",
             "pyinit.signal_names")
PACKAGES = ("pyinit", "pyinit.personalities")

# The bundle's own code. NOW and LATER stand for constants that build() puts in their place.
LOADER = """
import marshal, sys
from _frozen_importlib import ModuleSpec

class Bundle:
    def find_spec(name, path=None, target=None):
        if name in later:
            return ModuleSpec(name, Bundle)

    def create_module(spec):
        return None

    def exec_module(module):
        exec(marshal.loads(later[module.__name__]), module.__dict__)

later = dict("LATER")
sys.meta_path.insert(0, Bundle)
for name, package, code in "NOW":
    module = sys.modules[name] = type(sys)(name)
    module.__package__ = package
    if name == package:
        module.__path__ = []
    exec(code, module.__dict__)
"""


def build(root: str) -> bytes:
    """The bundle of the package below the folder `root`, as the bytes of a .pyc file. Raises OSError, SyntaxError."""
    constants = {"NOW": tuple((name, package_of(name), compile_module(root, name)) for name in INIT_PATH),
                 "LATER": tuple((name, marshal.dumps(compile_module(root, name))) for name in ON_DEMAND)}
    program = compile(LOADER, "bundle.py", "exec", dont_inherit=True, optimize=2)
    program = program.replace(co_consts=tuple(constants.get(constant, constant) if isinstance(constant, str)
                                              else constant for constant in program.co_consts))
    # The header of a hash-based .pyc that is not checked against a source, PEP 552.
    return MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8) + marshal.dumps(program)


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
    sys.stdout.buffer.write(build(__file__.rpartition("/")[0] + "/.."))
