"""The limits on tasks that cgroups set, read from the cgroup file system, cgroups(7)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from .files import read_number


class Limit(NamedTuple):
    """A cgroup with a limit: its path, pids.current, pids.max, and which paths that processes have lie in it."""

    path: str
    used: int
    limit: int
    members: frozenset[str]


def read_limits(root: str, paths: Iterable[tuple[str, bool]]) -> list[Limit]:
    """The limits that bind in cgroups and in all above them; `root` is /sys/fs/cgroup or a host's, mounted elsewhere.

    paths: as pids_path() tells them, and whether each is of cgroup v1.
    """
    list_folders.cache_clear()  # containers come and go between samples
    members: dict[tuple[str, str], set[str]] = {}
    for path, is_version_1 in paths:
        base = f"{root}/pids" if is_version_1 else root
        folder = find_folder(base, path)
        while len(folder) > len(base):
            members.setdefault((base, folder), set()).add(path)
            folder = os.path.dirname(folder)
        # In a container what is mounted may be the container's own cgroup, which has a limit; the real root has none.
        members.setdefault((base, base), set()).add(path)
    limits = []
    for (base, folder), inside in sorted(members.items()):
        limit, used = read_number(f"{folder}/pids.max"), read_number(f"{folder}/pids.current")
        if limit is not None and used is not None:
            limits.append(Limit(folder[len(base):] or "/", used, limit, frozenset(inside)))
    return limits


def find_folder(base: str, path: str) -> str:
    """The folder of a cgroup below `base`; `base` itself where that is not mounted.

    From inside a cgroup namespace a path outside of it begins with /.. for each level up to a common ancestor, of which
    the names are not told, cgroup_namespaces(7): then it is the one folder that ends in the rest of the path.
    """
    rest = path.strip("/")
    while rest == ".." or rest.startswith("../"):
        rest = rest[3:]
    if os.path.isdir(f"{base}/{rest}") or rest == path.strip("/"):
        return f"{base}/{rest}".rstrip("/") if os.path.isdir(f"{base}/{rest}") else base
    found = [folder for folder in list_folders(base) if folder.endswith(f"/{rest}")]
    return found[0] if len(found) == 1 else base


@lru_cache(maxsize=1)
def list_folders(base: str) -> list[str]:
    """Every cgroup below `base`."""
    return [folder for folder, _, _ in os.walk(base)]
