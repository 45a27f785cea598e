"""Find the real path of a container's program in its root file system, and follow no link out of it."""

from __future__ import annotations

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, Mapping, Optional

FILE_TYPE, LINK, REGULAR = 0o170000, 0o120000, 0o100000  # inode(7)
MOST_LINKS = 40  # path_resolution(7)
# An image chooses PATH and its links, and the container waits for the search. Usual images need fewer than 100 steps.
MOST_STEPS = 2000


def find_program(root: str, process: Mapping[str, Any]) -> str:
    """Return the real path of a container's program in its root file system, "" if it is not there.

    root: its path on the host. process: the member of config.json. A name without a slash is looked for in PATH,
    execvp(3). This is a best effort: a volume may hide the file that is found here.
    """
    name = process["args"][0]
    if "/" in name:
        return resolve(root, f"{process.get('cwd') or '/'}/{name}" if name[0] != "/" else name)
    steps = iter(range(MOST_STEPS))
    for folder in find_path(process).split(":"):
        found = resolve(root, f"{folder}/{name}", steps)
        if found:
            return found
    return ""


def find_path(process: Mapping[str, Any]) -> str:
    """Return PATH of a container's environment. If there are several, the last one counts, as in runc."""
    path = ""
    for entry in process.get("env") or ():
        if isinstance(entry, str) and entry.startswith("PATH="):
            path = entry[5:]
    return path


def resolve(root: str, path: str, steps: Optional[Iterator[int]] = None) -> str:
    """Return a path inside a root file system with its links resolved there, or "" if it is no regular file.

    steps: has one item for each part of a path that may still be looked at; None for MOST_STEPS.
    The image is not trusted: an absolute link begins at `root`, and `..` never leaves it.
    """
    steps = iter(range(MOST_STEPS)) if steps is None else steps
    real: list[str] = []
    rest = path.split("/")[::-1]
    links, mode = 0, 0
    while rest:
        if next(steps, None) is None:
            return ""
        part = rest.pop()
        if part in ("", "."):
            continue
        if part == "..":
            del real[-1:]
            continue
        full = "/".join((root, *real, part))
        try:
            mode = posix.lstat(full).st_mode & FILE_TYPE
            if mode != LINK:
                real.append(part)
                continue
            target = posix.readlink(full)
        except (OSError, ValueError):
            return ""
        links += 1
        if links > MOST_LINKS:
            return ""
        if target[:1] == "/":
            real.clear()
        rest += target.split("/")[::-1]
    return "/" + "/".join(real) if mode == REGULAR else ""
