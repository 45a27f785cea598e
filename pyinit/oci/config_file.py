"""Prepare the bundle of a container that starts: read config.json, decide, edit, replace it."""

from __future__ import annotations

import posix

from .arguments import Call
from .decide import NEEDED, decide, explain_program
from .document import read_config
from .edit import put_init
from .odd import Odd
from .program import FILE_TYPE, REGULAR, find_program

MOST_BYTES = 1 << 26
NOEXEC = 8  # statvfs(3) ST_NOEXEC
OVERFLOW = 65534  # user_namespaces(7): the owner of files whose owner is not mapped
ALL_IDS = b"0 0 4294967295"


def prepare(call: Call, init: str, only_annotated: bool) -> str:
    """Put the init into a bundle's config.json; return "", or the reason for which this container gets none.

    Raises Odd, OSError; config.json is unchanged then.
    """
    path = call.find_config()
    descriptor = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC | posix.O_NOFOLLOW | posix.O_NONBLOCK)
    try:
        found = posix.fstat(descriptor)
        text = read_text(descriptor, found)
    finally:
        posix.close(descriptor)
    members = read_config(text, NEEDED)
    config = {key: member.value for key, member in members.items()}
    reason = decide(config, only_annotated, posix.environ)
    if reason:
        return reason
    reason = explain_program(find_program(find_root(call.bundle or ".", config.get("root")), config["process"]))
    if reason:
        return reason
    check_init(init)
    replace(path, put_init(text, members, init).encode("utf-8", "surrogateescape"), found)
    return ""


def read_text(descriptor: int, found: posix.stat_result) -> str:
    """Return the whole of a file, decoded so that encoding it gives back every byte. Raises Odd, OSError."""
    if found.st_mode & FILE_TYPE != REGULAR or found.st_size > MOST_BYTES:
        raise Odd(f"config.json: expected a regular file of {MOST_BYTES} bytes at most")
    content = b""
    while len(content) <= MOST_BYTES:
        piece = posix.read(descriptor, 1 << 20)
        if not piece:
            break
        content += piece
    return content.decode("utf-8", "surrogateescape")


def find_root(folder: str, root: object) -> str:
    """Return the path of a container's root file system. root: the member of config.json. Raises Odd."""
    path = root.get("path") if isinstance(root, dict) else None
    if not isinstance(path, str):
        raise Odd("config.json: root.path: expected a string")
    return path if path[:1] == "/" else f"{folder}/{path}"


def check_init(path: str) -> None:
    """Raise Odd or OSError if a file must not be every container's init: it runs as all users of all containers."""
    found = posix.lstat(path)
    if found.st_mode & FILE_TYPE != REGULAR or found.st_mode & 0o111 != 0o111:
        raise Odd(f"{path}: expected a regular file that everyone may execute")
    if found.st_mode & 0o022 or not is_trusted(found.st_uid):
        raise Odd(f"{path}: mode {found.st_mode & 0o7777:o}, owner {found.st_uid}; expected a file that only root may "
                  "write to")
    if posix.statvfs(path).f_flag & NOEXEC:
        raise Odd(f"{path}: the file system is mounted with noexec")


def is_trusted(owner: int) -> bool:
    """Return whether a file's owner is root or this user. In a user namespace, the host's root has no number."""
    if owner in (0, posix.geteuid()):
        return True
    from ..linux.files import read_file

    return owner == OVERFLOW and b" ".join(read_file("/proc/self/uid_map").split()) != ALL_IDS


def replace(path: str, content: bytes, old: posix.stat_result) -> None:
    """Replace a file whole or not at all, with the owner and mode of the old one. Raises Odd."""
    temporary = f"{path}.pyinit-{posix.getpid()}"
    try:
        descriptor = posix.open(temporary, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
        try:
            fill(descriptor, content, old)
            posix.rename(temporary, path)
        except BaseException:
            posix.unlink(temporary)
            raise
    except OSError as error:
        raise Odd(f"{path}: cannot replace it: {error.strerror}") from None


def fill(descriptor: int, content: bytes, old: posix.stat_result) -> None:
    """Write a new file, give it the owner and mode of the old one, and close it. Raises OSError."""
    try:
        left = memoryview(content)
        while left:
            left = left[posix.write(descriptor, left):]
        new = posix.fstat(descriptor)
        if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
            posix.fchown(descriptor, old.st_uid, old.st_gid)
        posix.fchmod(descriptor, old.st_mode & 0o7777)
    finally:
        posix.close(descriptor)
