"""The modules of the package import only modules of lower layers, in lazy imports as well; read from their sources."""

from __future__ import annotations

import ast

import pytest

from pyinit.launcher.bundle import NOT_BUNDLED
from support.settings import ROOT

# What each package, or module at the top, may import from pyinit besides itself. "pyinit" is the version.
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
    "launcher": {"destination", "lean", "main", "pyinit"},
    "lean": {"destination", "pyinit"},
    "oci": {"destination", "launcher", "lean", "linux", "pyinit"},
    "zombies": {"destination", "linux", "pyinit"},
}
# The report goes through its stages in one direction.
STAGES = {"zombies.collect": set(), "zombies.analyse": {"zombies.collect"},
          "zombies.render": {"zombies.analyse", "zombies.collect"}}
# cli.arguments refuses an unknown name with the dispatcher's list of names. pyinit-install is one command for all that
# can be installed.
ALLOWED = {("cli.arguments", "main"), ("launcher.install", "oci")}

MODULES = sorted(path.relative_to(ROOT) for path in (ROOT / "pyinit").rglob("*.py"))
NAMES = {str(path.with_suffix("")).replace("/", ".").replace(".__init__", "") for path in MODULES}


def imports_of(path) -> set[str]:
    """Return the modules of pyinit that a module imports anywhere in its source."""
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
    """Return the package, or the module at the top, to which a module belongs."""
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
    assert {f"pyinit.{name}" for name in ("launcher", "lean", "oci", "zombies", "destination")} < set(NOT_BUNDLED)
