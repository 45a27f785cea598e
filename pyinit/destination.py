"""Files that a tool of the package writes for its user: path checks, and writing them whole or not at all."""

from __future__ import annotations

import os
import tempfile


class ToolError(Exception):
    """What a tool cannot do; the text names the input and the reason."""


def resolve(path: str, what: str) -> str:
    """The absolute path of a file to be written. Raises ToolError. what: what the path should be of."""
    if os.path.basename(path) in ("", ".", ".."):
        raise ToolError(f"{path or repr(path)}: is a directory, or names no file; expected the path of {what}")
    try:
        return os.path.abspath(path)
    except OSError as error:  # getcwd(2)
        raise ToolError(f"{path}: the working directory cannot be found: {error.strerror}; expected an absolute "
                           "path") from None


def check_destination(path: str, what: str) -> None:
    """Raise ToolError if at a path there is what is no file and no link: it is never replaced. what: what the path
    should be of.
    """
    if os.path.lexists(path) and not (os.path.islink(path) or os.path.isfile(path)):
        found = "is a directory" if os.path.isdir(path) else "is there and is no file"
        raise ToolError(f"{path}: {found}; expected the path of {what}")


def write_file(path: str, content: bytes, mode: int) -> None:
    """Write a file whole or not at all: under another name first, then rename(2). Raises ToolError."""
    folder = os.path.dirname(path)
    try:
        # Not named after the file, whose name may be as long as names can be.
        descriptor, temporary = tempfile.mkstemp(prefix=".pyinit.", dir=folder)
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
            os.chmod(temporary, mode)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ToolError(f"{path}: cannot write it: {error.strerror}") from None


def print_paths(paths: list[str]) -> None:
    """Print the paths of what was written, byte for byte whatever the locale. Raises ToolError."""
    try:
        with open(1, "wb", buffering=0, closefd=False) as stdout:
            stdout.write(b"".join(os.fsencode(path) + b"\n" for path in paths))
    except OSError as error:
        raise ToolError(f"stdout: cannot write to it: {error.strerror}; written all the same: {', '.join(paths)}") \
            from None
