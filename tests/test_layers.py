"""Imports of the package point down: read from the source of every module, the lazy imports as well."""

from __future__ import annotations

import ast

import pytest
from support import ROOT

from pyinit.launcher.bundle import NOT_BUNDLED

# What each package, or module at the top, may import from pyinit beside itself. "pyinit" is the version.
BELOW = {
    "linux": set(),
    "options": set(),
    "messages": {"linux"},
    "log": {"linux", "messages"},
    "child": {"linux", "log", "options"},
    "supervisor": {"child", "linux", "log", "options", "pyinit"},
    "cli": {"linux", "log", "options", "pyinit"},
    "main": {"child", "cli", "linux", "log", "messages", "options", "supervisor"},
    "__main__": {"linux", "main"},
    "destination": set(),
    "launcher": {"destination", "main", "pyinit"},
    "lean": {"destination", "pyinit"},
    "zombies": {"destination", "pyinit"},
}
# The report goes through its stages in one direction.
STAGES = {"zombies.collect": set(), "zombies.analyse": {"zombies.collect"},
          "zombies.render": {"zombies.analyse", "zombies.collect"}}
# cli.arguments refuses a name with the list of those that there are, which is the dispatcher's.
ALLOWED = {("cli.arguments", "main")}

MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "pyinit").rglob("*.py"))
NAMES = {str(path.with_suffix("")).replace("/", ".").replace(".__init__", "") for path in MODULES}


def imports_of(path) -> set[str]:
    """The modules of pyinit that a module imports, anywhere in its source."""
    package = list(path.parts[:-1])
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names = {f"{module}.{alias.name}" for alias in node.names}
            found |= (names & NAMES) | ({module} if names - NAMES else set())
    return {name for name in found if name.partition(".")[0] == "pyinit"}


def top(name: str) -> str:
    """The package or module of the top that a module belongs to."""
    return (name.split(".") + [""])[1] or "pyinit"


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_imports_point_down(path) -> None:
    module = str(path.with_suffix("")).replace("/", ".").replace(".__init__", "").replace("pyinit.", "", 1)
    for name in imports_of(path):
        own, other = top(f"pyinit.{module}"), top(name)
        allowed = other in BELOW.get(own, set()) | {own} or (module, other) in ALLOWED
        assert allowed or own == "pyinit", f"{module} imports {name}"
        stage, target = ".".join(module.split(".")[:2]), ".".join(name.split(".")[1:3])
        if stage in STAGES and target.startswith("zombies.") and target in STAGES:
            assert target in STAGES[stage] | {stage}, f"{module} imports {name}"


def test_lists_are_complete() -> None:
    assert {top(name) for name in NAMES} - {"pyinit"} == set(BELOW)
    assert {f"pyinit.{name}" for name in ("launcher", "lean", "zombies", "destination")} < set(NOT_BUNDLED)
