"""Check the path of a file that a tool of the package writes for its user, and write the file whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Iterator
from errno import ELOOP
from typing import Optional

MOST_LINKS = 40  # path_resolution(7)


class ToolError(Exception):
    """A tool cannot do what it was asked for; the text names the input and the reason."""


def resolve(path: str, what: str) -> str:
    """Return the absolute path of a file to write. Raises ToolError. what: the kind of file, for the error's text."""
    if os.path.basename(path) in ("", ".", ".."):
        raise ToolError(f"{path or repr(path)}: is a directory, or names no file; expected the path of {what}")
    try:
        return os.path.abspath(path)
    except OSError as error:  # getcwd(2)
        raise ToolError(f"{path}: the working directory cannot be found: {error.strerror}; expected an absolute "
                           "path") from None


def check_destination(path: str, what: str) -> None:
    """Raise ToolError if a path exists and is neither a file nor a link: nothing else is ever replaced. what: the kind
    of file, for the error's text.
    """
    if os.path.lexists(path) and not (os.path.islink(path) or os.path.isfile(path)):
        found = "is a directory" if os.path.isdir(path) else "is there and is no file"
        raise ToolError(f"{path}: {found}; expected the path of {what}")


def walk_path(path: str) -> Iterator[tuple[str, Optional[os.stat_result]]]:
    """Yield each path on the way to a file, with its lstat(2), or None if that fails. After a link come the paths on
    the way to its target, so the last one is the file's own. Raises OSError.
    """
    found, rest, links = "/" if path.startswith("/") else os.getcwd(), path.split("/")[::-1], 0
    while rest:
        name = rest.pop()
        if name == "..":
            found = os.path.dirname(found)
        elif name not in ("", "."):
            found = os.path.join(found, name)
        try:
            status = os.lstat(found)
        except OSError:
            yield found, None
            continue
        yield found, status
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > MOST_LINKS:
                raise OSError(ELOOP, os.strerror(ELOOP), path)
            target = os.readlink(found)
            found = "/" if target.startswith("/") else os.path.dirname(found)
            rest += target.split("/")[::-1]


def follow_links(path: str) -> str:
    """Return the absolute path of a file to write, with all links in it followed. Raises ToolError.

    A link that another user can have put there is refused: it would choose which file is replaced. The kernel refuses
    it only to open(2), only in a sticky folder, and only with fs.protected_symlinks, proc(5). A path that is not there
    is no error here: write_file() makes the file, or says why it cannot.
    """
    found = path
    try:
        for found, status in walk_path(path):
            if status and stat.S_ISLNK(status.st_mode):
                check_link(found, status.st_uid, os.stat(os.path.dirname(found)))
    except OSError as error:
        raise ToolError(f"{path}: cannot write it: {error.strerror}") from None
    return found


def check_link(path: str, owner: int, folder: os.stat_result) -> None:
    """Raise ToolError if a link belongs to neither root nor this user, and others may write to the folder it is in."""
    trusted = (0, os.geteuid())
    if owner not in trusted and (folder.st_uid not in trusted or folder.st_mode & 0o022):
        raise ToolError(f"{path}: is a link of user {owner}, in a folder that others may write to; expected a path "
                        "without such a link")


def write_file(path: str, content: bytes, mode: int, durable: bool = True) -> None:
    """Write a file whole or not at all: under another name first, then rename(2). Raises ToolError.

    durable: whether this must also hold after a power failure. It takes fsync(2), which waits for the disk.
    """
    folder = os.path.dirname(path)
    try:
        # Do not derive the temporary name from the file's name, which may already have the maximum length.
        descriptor, temporary = tempfile.mkstemp(prefix=".pyinit.", dir=folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                # Not by name: another user who may write to the folder can put a link to any file there.
                os.fchmod(descriptor, mode)
                if durable:
                    # Otherwise the new name can be on the disk before the content: a file of length 0.
                    file.flush()
                    os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            try:
                os.unlink(temporary)
            except FileNotFoundError:
                pass  # the exception is that of a signal's handler, and came after the rename
            raise
    except OSError as error:
        raise ToolError(f"{path}: cannot write it: {error.strerror}") from None
    if durable:
        sync_folder(folder)


def sync_folder(path: str) -> None:
    """Write the names in a folder to the disk. Best effort: the files are there, and some file systems refuse it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def print_paths(paths: list[str]) -> None:
    """Print the paths of the files that were written, byte for byte in any locale. Raises ToolError."""
    try:
        with open(1, "wb", buffering=0, closefd=False) as stdout:
            stdout.write(b"".join(os.fsencode(path) + b"\n" for path in paths))
    except OSError as error:
        raise ToolError(f"stdout: cannot write to it: {error.strerror}; written all the same: {', '.join(paths)}") \
            from None
