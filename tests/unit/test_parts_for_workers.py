"""How the tests are split for worker processes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

from support.workers import split


def test_parts() -> None:
    """Folders whose tests share images or kernels are one part each, and begin first; modules keep their order."""
    paths = ("unit/test_b.py", "unit/test_a.py", "process/test_a.py", "process/test_a.py",
             "container/test_c.py", "container/test_d.py", "vm/test_e.py", "container/test_c.py")
    items = [SimpleNamespace(path=Path(path)) for path in paths]
    parts = [[str(item.path) for item in part] for part in split(items)]  # type: ignore[arg-type]
    assert parts == [["container/test_c.py", "container/test_d.py", "container/test_c.py"], ["vm/test_e.py"],
                     ["unit/test_b.py"], ["unit/test_a.py"], ["process/test_a.py", "process/test_a.py"]]
