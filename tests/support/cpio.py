"""Write archives in cpio's format newc, which the kernel unpacks as its first file system ("initramfs buffer format").

The kernel accepts several archives one after another. A later file replaces an earlier one of the same name.
"""

from __future__ import annotations

import stat
import tarfile
from pathlib import Path
from typing import BinaryIO

TRAILER = "TRAILER!!!"

KINDS = {
    tarfile.REGTYPE: stat.S_IFREG, tarfile.LNKTYPE: stat.S_IFREG, tarfile.SYMTYPE: stat.S_IFLNK,
    tarfile.DIRTYPE: stat.S_IFDIR, tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK,
    tarfile.FIFOTYPE: stat.S_IFIFO,
}


class Writer:
    """Writes one archive; the end of a `with` completes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.inode = 0

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.add(TRAILER, 0, b"")

    def add(self, name: str, mode: int, content: bytes, owner: tuple[int, int] = (0, 0),
            device: tuple[int, int] = (0, 0), time: int = 0) -> None:
        """Add an entry of any kind. The content of a symbolic link is its target. Add a folder before its files."""
        self.inode += 1  # entries with the same number would be links to one file
        path = name.encode() + b"\0"
        fields = (self.inode, mode, *owner, 1, time, len(content), 0, 0, *device, len(path), 0)
        self.write(b"070701" + b"".join(b"%08X" % field for field in fields) + path)
        self.write(content)

    def write(self, content: bytes) -> None:
        """Write bytes, padded to a multiple of four. An entry's header (110 bytes) and name are padded together."""
        self.file.write(content + bytes(-len(content) % 4))

    def add_file(self, name: str, content: bytes, mode: int = 0o644) -> None:
        """Add the folders above a regular file, and the file."""
        for parent in reversed(Path(name).parents[:-1]):
            self.add(str(parent), stat.S_IFDIR | 0o755, b"")
        self.add(name, stat.S_IFREG | mode, content)


def convert(tarball: Path, archive: Path) -> None:
    """Write the content of a tarball as a cpio archive. A hard link becomes a file of its own."""
    with tarfile.open(tarball) as source, open(archive, "wb") as file, Writer(file) as target:
        for member in source:
            reader = source.extractfile(member) if member.isreg() or member.islnk() else None
            content = reader.read() if reader else member.linkname.encode()
            device = (member.devmajor, member.devminor) if member.isdev() else (0, 0)
            target.add(member.name.lstrip("./") or ".", KINDS[member.type] | member.mode, content,
                       (member.uid, member.gid), device, int(member.mtime))
