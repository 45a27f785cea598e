"""Install the OCI runtime: one script with its settings in it, and the lean init beside it."""

from __future__ import annotations

import marshal
import os
import stat
from typing import Literal, Optional

from .. import __version__
from ..destination import ToolError, check_destination, resolve, walk_path, write_file
from ..launcher.install import check_shebang, inspect_interpreter, run_interpreter
from ..lean import MACHINES, build
from .compiled import MODULES, PACKAGES, ROOT, find_source
from .script import SCRIPT

RUNTIMES = ("runc", "crun")
SYSTEM_PATH = ":/usr/local/sbin:/usr/sbin:/sbin"  # often missing from a user's PATH
WHAT = "the runtime's script itself"
MARK = b"written by pyinit-install"

PT_INTERP = 3  # elf(5)


def install(destination: str, python: str, runtime: Optional[str] = None, init: Optional[str] = None,
            only_annotated: bool = False) -> list[str]:
    """Write the runtime's script at `destination`; return the files written. Raises ToolError.

    python: the interpreter that it runs under. runtime: the path of the real one; None for runc or crun from PATH.
    init: the path of a static program; None to write the lean init beside the script.
    """
    destination = resolve(destination, WHAT)
    check_script(destination)
    runtime = find_runtime(runtime, destination)
    python = inspect_interpreter(python).path
    check_shebang(python)
    library = run_interpreter(python, "-c", "import encodings, os; os.write(1, os.fsencode(encodings.__path__[0]))")
    for path in (runtime, python, os.fsdecode(library), os.path.dirname(destination)):
        try:
            check_trusted(path)
        except OSError as error:
            raise ToolError(f"{path}: cannot find out who may change it: {error.strerror}") from None
    chosen = check_init(init) if init is not None else f"{destination}.init"
    script = write_script(python, runtime, chosen, only_annotated)
    written = [destination]
    if init is None:
        machine = os.uname().machine
        if machine not in MACHINES:
            raise ToolError(f"--init: there is no lean init for {machine}; expected the path of a static init")
        check_destination(chosen, "the init itself")
        write_file(chosen, build("init", machine), 0o755)
        written.append(chosen)
    write_file(destination, script, 0o755)
    return written


def write_script(python: str, runtime: str, init: str, only_annotated: bool) -> bytes:
    """Return the script: the modules compiled by the interpreter that it runs under, and their sources. Raises
    ToolError.
    """
    magic, code = marshal.loads(run_interpreter(python, "-Xno_debug_ranges", f"{ROOT}/pyinit/oci/compiled.py"))
    sources = {}
    for name in MODULES:
        with open(f"{ROOT}/{find_source(name)}", encoding="utf-8") as file:
            sources[name] = file.read()
    text = SCRIPT.format(python=python, version=__version__, runtime=runtime, init=init, only_annotated=only_annotated,
                         packages=PACKAGES, magic=magic, sources=sources,
                         code={name: content.hex() for name, content in code.items()})
    return text.encode("utf-8", "surrogateescape")


def check_script(path: str) -> None:
    """Raise ToolError if the destination exists and this command has not written it: it may be the real runtime."""
    check_destination(path, WHAT)
    try:
        with open(path, "rb") as file:
            if MARK not in file.read(1 << 12):
                raise ToolError(f"{path}: is there and is no such script; expected the path of {WHAT}")
    except FileNotFoundError:
        pass
    except OSError as error:
        raise ToolError(f"{path}: cannot read the file that it would replace: {error.strerror}") from None


def find_runtime(path: Optional[str], destination: str) -> str:
    """Return the absolute path of the real runtime. Raises ToolError."""
    if path is None:
        # Debian's python3-minimal has no shutil.which().
        folders = (os.environ.get("PATH", os.defpath) + SYSTEM_PATH).split(":")
        candidates = (os.path.join(folder, name) for name in RUNTIMES for folder in folders if folder)
        path = next(filter(is_program, candidates), None)
        if path is None:
            raise ToolError(f"--runtime: {' and '.join(RUNTIMES)} are not in PATH; expected the path of an OCI runtime")
    path = os.path.abspath(path)
    if not is_program(path):
        raise ToolError(f"{path}: expected the real OCI runtime, a file that can be executed")
    try:
        with open(path, "rb") as file:
            is_own = os.path.realpath(path) == os.path.realpath(destination) or MARK in file.read(1 << 12)
    except OSError as error:
        raise ToolError(f"{path}: cannot read it: {error.strerror}; expected the real OCI runtime") from None
    if is_own:
        raise ToolError(f"{path}: is what this command writes; expected the real OCI runtime")
    return path


def is_program(path: str) -> bool:
    """Return whether a path is a file that can be executed."""
    return os.path.isfile(path) and os.access(path, os.X_OK)


def check_trusted(path: str) -> None:
    """Raise ToolError if a user other than root and the one who installs can change a file, or a folder above it.

    The runtime runs as root, and the init as every user of every container.
    """
    os.stat(path)  # raises OSError for a loop of links, and for one that leads nowhere
    for way, status in walk_path(os.path.abspath(path)):
        found = status or os.lstat(way)  # raises OSError: it has been removed since
        link = stat.S_ISLNK(found.st_mode)  # only its owner, or that of its folder, can replace it
        # In a sticky folder only the owner of a file can replace it, inode(7).
        sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
        if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022 and not sticky and not link:
            raise ToolError(f"{way}: mode {stat.S_IMODE(found.st_mode):o}, owner {found.st_uid}; expected that only "
                            "root can write to it")


def check_init(path: str) -> str:
    """Return the real path of an init. Raises ToolError if no container could execute it."""
    path = os.path.realpath(path)
    try:
        with open(path, "rb") as file, open("/proc/self/exe", "rb") as own:
            head, expected = file.read(1 << 12), own.read(20)
    except OSError as error:
        raise ToolError(f"{path}: cannot read it: {error.strerror}; expected a static init") from None
    if not os.path.isfile(path) or os.stat(path).st_mode & 0o111 != 0o111:
        raise ToolError(f"{path}: expected an init that everyone may execute")
    # elf(5): magic number, class and byte order; machine.
    if head[:6] != expected[:6] or head[18:20] != expected[18:20] or not is_static(head):
        raise ToolError(f"{path}: expected a static program for this machine: a container has none of the host's "
                        "libraries and interpreters")
    check_trusted(path)
    return path


def is_static(head: bytes) -> bool:
    """Return whether an ELF file needs no dynamic linker, elf(5). head: its beginning, with all program headers."""
    if len(head) < 64:
        return False
    order: Literal["little", "big"] = "big" if head[5] == 2 else "little"
    # In 32 and 64 bits: where the program headers begin, their size, and their number.
    fields = ((28, 4), (42, 2), (44, 2)) if head[4] == 1 else ((32, 8), (54, 2), (56, 2))
    start, size, count = (int.from_bytes(head[offset:offset + length], order) for offset, length in fields)
    end = start + count * size
    return start < end <= len(head) and all(
        int.from_bytes(head[position:position + 4], order) != PT_INTERP for position in range(start, end, size))
