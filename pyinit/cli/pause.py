"""The pause of a pod: -v and -V print the version, every other argument is ignored.

It obeys PYINIT_VERBOSITY: an image can set a variable, but a kubelet gives the pause no argument.
"""

from __future__ import annotations

from ..log import DESCRIPTORS, PREFIXES  # noqa: F401  (pyinit's own)
from ..options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping


def parse(arguments: list[str], environ: Mapping[bytes, bytes], name: str) -> Options:
    """Return the options of a command line, without argv[0]. As in pause v3.1, no argument is refused."""
    verbosity = environ.get(b"PYINIT_VERBOSITY", b"")
    return Options(pause=True, show="version" if "-v" in arguments or "-V" in arguments else "",
                   verbosity=int(verbosity) if verbosity.isdigit() and len(verbosity) == 1 else 1)


def show(options: Options, name: str) -> int:
    """Print the version; return the exit code."""
    from .. import __version__
    from .native_texts import print_text

    return print_text(f"pause.py {__version__}")
