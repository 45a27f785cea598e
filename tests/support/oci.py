"""Install the OCI runtime as a user does, and write bundles for it."""

from __future__ import annotations

import json
from pathlib import Path

from support import containers
from support.manifests import FOLDER
from support.processes import Argument, run
from support.settings import PYTHON

# The path at which the documentation installs the runtime.
PATH = "/usr/local/sbin/pyinit-runtime"

DEV = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]}


def install_runtime(destination: Path, *options: Argument) -> Path:
    """Install the runtime and return its path."""
    done = run([PYTHON, "-m", "pyinit.launcher", "--oci-runtime", destination, *options])
    assert done.code == 0, done
    return destination


def describe(**parts: object) -> dict[str, object]:
    """Return the content of a config.json into which the runtime puts the init. parts: top-level keys to replace."""
    return {"ociVersion": "1.0.2", "process": {"args": ["sleep", "1"], "cwd": "/"}, "root": {"path": "rootfs"},
            "mounts": [DEV], "linux": {"namespaces": [{"type": "pid"}]}, **parts}


def write_bundle(folder: Path, text: str = "", **parts: object) -> Path:
    """Write a bundle and return the path of its config.json, which is made of `parts` or has the given text."""
    (folder / "rootfs").mkdir(parents=True, exist_ok=True)
    path = folder / "config.json"
    path.write_text(text or json.dumps(describe(**parts)))
    return path


def unpack(folder: Path) -> Path:
    """Unpack the base image's root file system without its device files, as each container gets new ones."""
    folder.mkdir()
    containers.run(["tar", "-C", folder, "--exclude=./dev/*", "-xf", containers.make_base()])
    return folder


def write_handler(folder: Path) -> str:
    """Install the runtime in a folder; return containerd's section for it, made of the snippet in deploy/kubernetes."""
    real = containers.find_runtime()
    assert real, "no OCI runtime is installed"
    runtime = install_runtime(folder / "pyinit-cri", "--runtime", real)
    text = (FOLDER / "runtime-class" / "containerd-1.x.toml").read_text()
    for old, new in (("version = 2\n", ""), (PATH, str(runtime)), ("SystemdCgroup = true", "SystemdCgroup = false")):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text
