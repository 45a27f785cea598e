"""Read the rare parts of a command line that all personalities share; loaded when there is one."""

from __future__ import annotations

import sys

from ..linux.files import read_file
from ..main import PERSONALITIES
from ..options import Options, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping


def set_reaper(options: Options, environ: Mapping[bytes, bytes]) -> None:
    """Set how to reap, for every personality: from the command line, else from PYINIT_REAP. Raises UsageError."""
    what = "--reap" if options.reap else "PYINIT_REAP"
    options.reap = options.reap or environ.get(b"PYINIT_REAP", b"").decode("utf-8", "surrogateescape")
    if options.reap not in ("", "wait", "kernel"):
        raise UsageError(f"pyinit: {what} '{options.reap}': expected wait or kernel")


def read_name(arguments: list[str]) -> tuple[str, list[str]]:
    """Read `--as NAME` or `--as=NAME` in front; return the name and the arguments behind it. Raises UsageError."""
    option, sign, name = arguments[0].partition("=")
    rest = arguments[1:]
    if not sign:
        name, rest = "".join(rest[:1]), rest[1:]
    if option != "--as" or name not in PERSONALITIES:
        raise UsageError(f"pyinit: {option} '{name}': expected --as and one of {', '.join(PERSONALITIES)}")
    return name, rest


def read_legacy_arguments() -> list[str]:
    """Return argv in a locale whose encoding does not round-trip, such as a legacy multibyte one: the kernel's copy,
    proc(5).

    Without /proc, use what CPython has decoded.
    """
    try:
        everything = read_file("/proc/self/cmdline").decode("utf-8", "surrogateescape").split("\0")[:-1]
        return [sys.argv[0], *everything[len(everything) - len(sys.argv) + 1:]]
    except OSError:
        encoding = sys.getfilesystemencoding()
        return [argument.encode(encoding, "surrogateescape").decode("utf-8", "surrogateescape")
                for argument in sys.argv]
