"""A launcher that is a stub: the settings for the lean program of lean/stub.py."""

from __future__ import annotations

import os

from ..lean import build_stub
from ..lean.kernel import sigset
from ..lean.stub import Settings
from .bundle import NO_ARCHIVE, VERSION_SIZE
from .script import FLAGS

# Says in one line why no bundle was found. argv[1] is the path by which the stub was executed.
FAILURE = """\
import posix, sys
from _frozen_importlib_external import MAGIC_NUMBER
def explain(path):
    try:
        file = posix.open(path, posix.O_CLOEXEC | posix.O_NONBLOCK)
        header = posix.read(file, 16)
        if header[:9] == {key!r}:
            return "it has been cut short"
        if header[2:9] != {key!r}[2:]:
            return "it is no bundle, or one for a launcher of another kind"
        version = posix.pread(file, {size}, posix.lseek(file, -{end}, 2))
        return "it is for " + version.decode("ascii", "replace").strip()
    except FileNotFoundError as error:
        return "" if path != {bundle!r} else error.strerror
    except OSError as error:
        return error.strerror
try:
    for path in sys.argv[1] + ".pyc", {bundle!r}:
        reason = explain(path)
        if reason:
            break
    posix.write(2, ("pyinit: cannot load %s: %s; expected the file that pyinit-install wrote with the launcher, for "
                    "{implementation}\\n" % (path, reason)).encode("utf-8", "surrogateescape"))
finally:
    posix._exit(1)
"""


def find_versioned(python: str, version: str) -> str:
    """Return the path of an interpreter whose name ends in its version, such as python3.11, or "" if it has none.

    An upgrade to another version puts no other interpreter there. Another version of CPython would refuse the bundle,
    with a line that names neither the versions nor the remedy.
    """
    beside = os.path.join(os.path.dirname(python), f"python{version}")
    for path in (python, beside, os.path.realpath(python)):
        if path.endswith(f"python{version}") and os.path.exists(path) and os.path.samefile(path, python):
            return path
    return ""


def write(machine: str, name: str, python: str, implementation: str, signals: list[int], destination: str,
          suffixes: tuple[str, ...], key: bytes) -> bytes:
    """Return the stub of the launcher `destination` for a machine, a key of MACHINES. signals: those to block."""
    failure = FAILURE.format(key=key, size=VERSION_SIZE, end=VERSION_SIZE + len(NO_ARCHIVE),
                             bundle=destination + ".pyc", implementation=implementation)
    cannot_run = f"pyinit: cannot run {implementation}, for which pyinit-install wrote the launcher: '"
    return build_stub(Settings(
        name=os.fsencode(name), interpreter=os.fsencode(python), flags=FLAGS.encode(),
        signals=sigset(*signals),
        destination=os.fsencode(destination), suffixes=tuple(map(os.fsencode, suffixes)), key=key,
        failure=failure.encode("utf-8", "surrogateescape"), cannot_run=os.fsencode(cannot_run)), machine)
