"""The limits on tasks that cgroups set, read from the cgroup file system, cgroups(7)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from errno import ENODEV, ENOENT
from functools import lru_cache
from typing import NamedTuple, Optional

from .files import read


class Limit(NamedTuple):
    """A cgroup with a limit: its path, pids.current, pids.max, and the cgroup paths of processes that lie in it."""

    path: str
    used: int
    limit: int
    members: frozenset[str]


def read_limits(root: str, paths: Iterable[tuple[str, bool]]) -> tuple[list[Limit], frozenset[str]]:
    """Return the limits of cgroups and of their ancestors, and the paths for which a limit could not be read.

    root is /sys/fs/cgroup or a host's, mounted elsewhere. paths: each cgroup's path and whether it is one of cgroup v1,
    as pids_path() returns them.
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
        # In a container, the mounted root may be the container's own cgroup, which has a limit. The real root has none.
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
    """Return pids.current and pids.max of a cgroup, or None if it has no limit. Raises OSError, ValueError."""
    try:
        most = read(f"{folder}/pids.max").strip()
        return None if most == b"max" else (int(read(f"{folder}/pids.current")), int(most))
    except OSError as error:
        if error.errno in (ENOENT, ENODEV):  # the root, a cgroup without the controller, or one that has been removed
            return None
        raise


def find_folder(base: str, path: str) -> Optional[str]:
    """Return the folder of a cgroup below `base`, or of its nearest ancestor if the cgroup has been removed.

    Return `base` itself if none of them is mounted below it. Return None if `base` is no cgroup file system, or if the
    folder cannot be found with certainty.

    In a cgroup namespace, the path of a cgroup outside of it begins with /.. for each level up to a common ancestor,
    and does not name these levels, cgroup_namespaces(7). Its folder is then the only one that ends in the rest of the
    path.
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
    """Return the folders of all cgroups below `base`, and `base` itself."""
    return [folder for folder, _, _ in os.walk(base)]
