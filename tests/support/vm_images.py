"""Make what a virtual machine boots: kernels from Debian's repositories, and an initramfs of Debian with Python.

mmdebstrap makes both once, and the cache of the tests keeps them. mmdebstrap only extracts packages, so that packages
for another machine need no emulator.
"""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from support import cpio
from support.containers import CACHE, SUITE, TIMEOUT, apt_options, apt_sources, make_once, run
from support.settings import ROOT

# The packages that tests use in a machine. No package is configured: the only users are those of FILES.
PACKAGES = ("base-files", "bash", "busybox-static", "catatonit", "coreutils", "dash", "diffutils", "dumb-init", "grep",
            "mount", "procps", "python3-pytest", "python3-pytest-timeout", "sed", "strace", "tini", "util-linux")
FILES = {
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
    "etc/group": b"root:x:0:\nnogroup:x:65534:\n",
}

# A --customize-hook, mmdebstrap(1): compiles pytest here, as an emulated machine takes half a minute for that. The
# machine's Python uses the bytecode if this machine's has the same version, and ignores it otherwise.
COMPILE = '/usr/bin/python3 -m compileall -q -s "$1" "$1/usr/lib/python3" "$1"/usr/lib/python3.* >/dev/null || true'

# The parts of the checkout that tests read.
CHECKOUT = ("pyinit", "tests", "benchmarks", "deploy", "docs", "README.md", "pyproject.toml", "Dockerfile.pause")


class Kernel(NamedTuple):
    """A kernel by Debian's names: its architecture, and the package that depends on the newest build of a release."""

    release: str
    architecture: str
    package: str


KERNELS = {
    "6.1": Kernel("6.1", "amd64", "linux-image-cloud-amd64"),
    "6.12": Kernel("6.12", "amd64", "linux-image-6.12-cloud-amd64"),
    "6.1-arm64": Kernel("6.1", "arm64", "linux-image-arm64"),
}


def extract(architecture: str, packages: Iterable[str], folder: Path, hook: str = "") -> Path:
    """Return a tarball of the files of packages and of their dependencies. Needs a mirror and a minute."""
    tarball = folder / "packages.tar"
    run(["mmdebstrap", "--quiet", "--variant=extract", f"--architectures={architecture}",
         "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr", *([f"--customize-hook={hook}"] if hook else []),
         f"--include={','.join(packages)}", *apt_options(), SUITE, tarball, *apt_sources()], timeout=2 * TIMEOUT)
    return tarball


def make_kernel(kernel: Kernel) -> Path:
    """Return the path of a kernel's image."""
    def make(new: Path) -> None:
        with tarfile.open(extract(kernel.architecture, [kernel.package], new.parent)) as files:
            name, = (name for name in files.getnames() if re.match(r"(\./)?boot/vmlinuz-", name))
            content = files.extractfile(name)
            assert content, f"{name} in {kernel.package} is no file"
            new.write_bytes(content.read())

    return make_once(CACHE / f"vm-{kernel.package}-{kernel.architecture}", make)


def make_base(architecture: str) -> Path:
    """Return the path of a cpio archive of PACKAGES. Its name changes with PACKAGES."""
    def make(new: Path) -> None:
        cpio.convert(extract(architecture, PACKAGES, new.parent, COMPILE), new)

    return make_once(CACHE / f"vm-{SUITE}-{architecture}-{zlib.crc32(repr(PACKAGES).encode()):08x}.cpio", make)


def write_initramfs(path: Path, base: Path, files: Mapping[str, bytes]) -> None:
    """Write an initramfs: a base, FILES, and further files. All files are executable."""
    with open(path, "wb") as file:
        file.write(base.read_bytes())
        with cpio.Writer(file) as archive:
            for name, content in {**FILES, **files}.items():
                archive.add_file(name, content, 0o755)


def read_checkout() -> dict[str, bytes]:
    """Return the content of the checkout's files, by their names in a machine."""
    files = (path for part in CHECKOUT for path in [ROOT / part, *(ROOT / part).rglob("*")] if path.is_file())
    return {f"checkout/{path.relative_to(ROOT)}": path.read_bytes() for path in files if path.suffix != ".pyc"}
