"""Functions and files are short, and modules and public names have docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Union

import pytest

from support.settings import ROOT

FUNCTION_LINES, FILE_LINES = 40, 400

Definition = Union[ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef]


def read_modules(*folders: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each module below some folders of the project, and its text."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield str(path.relative_to(ROOT)), path.read_text()


def definitions(node: ast.AST) -> Iterator[Definition]:
    """Yield the functions and classes of a module or class, and the methods of these classes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from definitions(child)


def count_lines(node: Definition) -> int:
    """Return the number of lines from `def` to the last one."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def long_functions(path: str, text: str) -> set[str]:
    """Return the functions that are too long."""
    return {f"{path} {node.name}" for node in definitions(ast.parse(text))
            if not isinstance(node, ast.ClassDef) and count_lines(node) > FUNCTION_LINES}


def undocumented(path: str, text: str) -> set[str]:
    """Return the public functions, methods and classes without a docstring."""
    return {f"{path} {node.name}" for node in definitions(ast.parse(text))
            if not node.name.startswith("_") and not ast.get_docstring(node)}


def test_functions_are_short() -> None:
    found = set().union(*(long_functions(*module) for module in read_modules("pyinit", "benchmarks")))
    assert found == set()


def test_files_are_short() -> None:
    found = [path for path, text in read_modules("pyinit", "benchmarks", "tests")
             if len(text.splitlines()) > FILE_LINES]
    assert found == []


def test_modules_have_docstrings() -> None:
    found = [path for path, text in read_modules("pyinit", "benchmarks", "tests")
             if not ast.get_docstring(ast.parse(text))]
    assert found == []


def test_public_names_have_docstrings() -> None:
    assert set().union(*(undocumented(*module) for module in read_modules("pyinit"))) == set()


METHOD = "class Some:\n    def method(self):\n"


@pytest.mark.parametrize("text, count", [
    ("def some():\n" + "    pass\n" * 39, 0), ("def some():\n" + "    pass\n" * 40, 1),
    ("async def some():\n" + "    pass\n" * 40, 1), (METHOD + "        pass\n" * 40, 1),
    ("if True:\n    def some():\n" + "        pass\n" * 40, 1), ("TABLE = [\n" + "    1,\n" * 99 + "]\n", 0),
])
def test_long_functions_are_found(text: str, count: int) -> None:
    assert len(long_functions("module.py", text)) == count


@pytest.mark.parametrize("text, names", [
    ("def some():\n    pass\n", {"some"}), ('def some():\n    """Do it."""\n', set()),
    ("def _some():\n    pass\n", set()), (METHOD + "        pass\n", {"Some", "method"}),
    ("def some():\n    '''Do it.'''\n    def inner():\n        pass\n", set()),
])
def test_missing_docstrings_are_found(text: str, names: set[str]) -> None:
    assert undocumented("module.py", text) == {f"module.py {name}" for name in names}
