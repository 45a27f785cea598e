"""One module for each personality: it makes Options from flags and environment, and has the texts for them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping


def read_options(arguments: list[str], short: str, long: Mapping[str, str]) -> tuple[list[tuple[str, str]], list[str]]:
    """As getopt.read_options(), which is loaded only if the command line begins with an option."""
    if not arguments or arguments[0][:1] != "-":
        return [], arguments
    if arguments[0] == "--":
        return [], arguments[1:]
    from . import getopt

    return getopt.read_options(arguments, short, long)
