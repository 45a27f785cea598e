"""The limits on tasks that cgroups set, read from the cgroup file system, cgroups(7)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from errno import ENODEV, ENOENT
from functools import lru_cache
from typing import NamedTuple, Optional

from .files import read


class Limit(NamedTuple):
    """A cgroup with a limit: its path, pids.current, pids.max, and which paths that processes have lie in it."""

    path: str
    used: int
    limit: int
    members: frozenset[str]


def read_limits(root: str, paths: Iterable[tuple[str, bool]]) -> tuple[list[Limit], frozenset[str]]:
    """Return the limits that bind in cgroups and in their ancestors, and the paths of which not all could be read.

    root is /sys/fs/cgroup or a host's, mounted elsewhere. paths: as pids_path() tells them, and whether each is of
    cgroup v1.
    """
    list_folders.cache_clear()  # containers come and go between samples
    members: dict[tuple[str, str], set[str]] = {}
    unread: set[str] = set()
    for path, is_version_1 in paths:
        base = f"{root}/pids" if is_version_1 else root
        folder = find_folder(base, path)
        if folder is None:
            unread.add(path)
            continue
        while len(folder) > len(base):
            members.setdefault((base, folder), set()).add(path)
            folder = os.path.dirname(folder)
        # In a container what is mounted may be the container's own cgroup, which has a limit; the real root has none.
        members.setdefault((base, base), set()).add(path)
    limits = []
    for (base, folder), inside in sorted(members.items()):
        try:
            limit = read_limit(folder)
        except (OSError, ValueError):
            unread |= inside
            continue
        if limit:
            limits.append(Limit(folder[len(base):] or "/", *limit, frozenset(inside)))
    return limits, frozenset(unread)


def read_limit(folder: str) -> Optional[tuple[int, int]]:
    """Return pids.current and pids.max of a cgroup, None if it has no limit. Raises OSError, ValueError."""
    try:
        most = read(f"{folder}/pids.max").strip()
        return None if most == b"max" else (int(read(f"{folder}/pids.current")), int(most))
    except OSError as error:
        if error.errno in (ENOENT, ENODEV):  # the root; the controller is off there; the cgroup was removed meanwhile
            return None
        raise


def find_folder(base: str, path: str) -> Optional[str]:
    """Return the folder of a cgroup below `base`, or of its nearest ancestor if the cgroup has been removed.

    Return `base` itself if none of them is mounted below it, and None if `base` is no cgroup file system, or does not
    tell where the cgroup is.

    From inside a cgroup namespace a path outside of it begins with /.. for each level up to a common ancestor, of which
    the names are not told, cgroup_namespaces(7): then it is the one folder that ends in the rest of the path.
    """
    if not os.path.exists(f"{base}/cgroup.procs"):  # every cgroup has it, in both versions, cgroups(7)
        return None
    path = rest = path.strip("/")
    while rest == ".." or rest.startswith("../"):
        rest = rest[3:]
    if rest == path:
        while rest and not os.path.isdir(f"{base}/{rest}"):
            rest = os.path.dirname(rest)
        return f"{base}/{rest}".rstrip("/")
    if rest and os.path.isdir(f"{base}/{rest}"):
        return f"{base}/{rest}"
    found = [folder for folder in list_folders(base) if folder.endswith(f"/{rest}")] if rest else []
    return found[0] if len(found) == 1 else None


@lru_cache(maxsize=1)
def list_folders(base: str) -> list[str]:
    """Every cgroup below `base`."""
    return [folder for folder, _, _ in os.walk(base)]
