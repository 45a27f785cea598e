"""A file is written whole or not at all, and is never a file of another user's choice; no signal is lost meanwhile.

A power failure cannot be made here: the tests check the order of the calls that the kernel's promise depends on.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import nullcontext
from pathlib import Path

import pytest

from pyinit.destination import ToolError, check_link, follow_links, write_file

OWN, OTHER = 1000, 1001


@pytest.mark.parametrize("owner, folder_owner, mode, refused", [
    (OTHER, 0, 0o1777, True),       # /tmp
    (OTHER, 0, 0o775, True),
    (OTHER, OTHER, 0o755, True),    # the other user's home
    (OTHER, OWN, 0o757, True),
    (OTHER, OWN, 0o755, False),     # only this user, or root, can have put it there
    (OTHER, 0, 0o755, False),
    (OWN, 0, 0o1777, False), (0, 0, 0o1777, False), (OWN, OTHER, 0o777, False),
])
def test_link_of_another_user(monkeypatch, owner: int, folder_owner: int, mode: int, refused: bool) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: OWN)
    folder = os.stat_result((stat.S_IFDIR | mode, 2, 1, 2, folder_owner, 0, 0, 0, 0, 0))
    words = f"^/tmp/link: is a link of user {OTHER}, in a folder that others may write to"
    with pytest.raises(ToolError, match=words) if refused else nullcontext():
        check_link("/tmp/link", owner, folder)


@pytest.mark.parametrize("path", ["file", "./folder/../file", "/", "/..", "folder/", "new/file", "new/../file", "link",
                                  "up/file", "up/link/x", "nowhere", "folder/absolute/file", "file/x"])
def test_own_links_are_followed(tmp_path: Path, monkeypatch, path: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name, target in (("link", "up/../folder/../file"), ("up", "folder/.."), ("nowhere", "folder/nothing"),
                         ("folder/absolute", str(tmp_path))):
        (tmp_path / name).symlink_to(target)
    monkeypatch.chdir(tmp_path)
    assert follow_links(path) == os.path.realpath(path)
    assert follow_links(f"{tmp_path}/{path}") == os.path.realpath(f"{tmp_path}/{path}")


def test_loop_of_links(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(ToolError, match="/a: cannot write it: Too many levels of symbolic links"):
        follow_links(f"{tmp_path}/a")


def test_temporary_file_that_is_replaced_by_a_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a folder that others may write to, another user can exchange the temporary file before it gets its mode."""
    secret = tmp_path / "shadow"
    secret.write_text("secret")
    secret.chmod(0o600)
    make = tempfile.mkstemp

    def make_and_exchange(**options: str) -> tuple[int, str]:
        descriptor, path = make(**options)
        os.unlink(path)
        os.symlink(secret, path)
        return descriptor, path

    monkeypatch.setattr(tempfile, "mkstemp", make_and_exchange)
    write_file(str(tmp_path / "file"), b"new", 0o755)
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("secret", 0o600)


def test_signal_that_arrives_after_the_file_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exception of the signal's handler reaches the caller, although the temporary file is no longer there."""
    rename = os.replace

    def rename_and_interrupt(old: str, new: str) -> None:
        rename(old, new)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", rename_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(str(tmp_path / "file"), b"new", 0o644)
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("file", b"new")]


@pytest.mark.parametrize("durable, calls", [
    (True, [("fsync", 3, 0o755), ("rename",), ("fsync folder",)]), (False, [("rename",)])])
def test_content_is_on_the_disk_before_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durable: bool,
                                                calls: list) -> None:
    """fsync(2) finds the whole content and the mode. A report that is soon replaced does without."""
    seen: list[tuple] = []
    rename = os.replace

    def sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        is_folder = stat.S_ISDIR(found.st_mode)
        seen.append(("fsync folder",) if is_folder else ("fsync", found.st_size, found.st_mode & 0o777))

    def record_rename(old: str, new: str) -> None:
        seen.append(("rename",))
        rename(old, new)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", record_rename)
    write_file(str(tmp_path / "file"), b"new", 0o755, **({} if durable else {"durable": False}))
    assert seen == calls
    assert (tmp_path / "file").read_bytes() == b"new"
