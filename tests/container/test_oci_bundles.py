"""The OCI runtime works in front of runc and crun, with a bundle and their command line, without an engine."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import pytest

from support.containers import Lab, run
from support.oci import install_runtime, unpack, write_bundle

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

# crun refuses a machine with cgroups of both versions, so here it sees only version 2, and uses no cgroup.
CGROUP_2 = 'umount --recursive /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && exec "$@"'
SCRIPT = "cat /proc/1/comm; cmp /proc/1/exe /dev/pyinit && echo same; exit 42"


@pytest.fixture(scope="module", params=["runc", "crun"])
def runtime(request: pytest.FixtureRequest, session_lab: Lab, install_folder: Path) -> Path:
    """Install the runtime in front of each of the usual ones; return its path."""
    found = shutil.which(request.param, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin")
    if not found:
        pytest.skip(f"not installed: {request.param}")
    return install_runtime(install_folder / f"pyinit-{request.param}", "--runtime", found)


def start(runtime: Path, bundle: Path, state: Path):
    """Run the bundle's container to its end."""
    command = [runtime, "--root", state, "run", "--bundle", bundle, f"pyinit-{uuid.uuid4().hex}"]
    if runtime.name.endswith("crun"):
        command = ["unshare", "--mount", "sh", "-c", CGROUP_2, "sh", runtime, "--cgroup-manager=disabled", *command[1:]]
    return run(command, check=False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Write a bundle with the base image's root file system."""
    folder = tmp_path / "bundle"
    path = write_bundle(folder, process={"args": ["sh", "-c", SCRIPT], "cwd": "/", "user": {"uid": 0, "gid": 0},
                                         "env": ["PATH=/usr/bin:/bin"]},
                        linux={"namespaces": [{"type": "pid"}, {"type": "mount"}]})
    text = path.read_text().replace('"mounts": [', '"mounts": [{"destination": "/proc", "type": "proc"}, ')
    shutil.rmtree(folder)
    folder.mkdir()
    unpack(folder / "rootfs")
    path.write_text(text)
    return folder


def test_container(runtime: Path, bundle: Path, tmp_path: Path) -> None:
    """A bundle can be used twice: the second time it already has the init."""
    for _ in range(2):
        done = start(runtime, bundle, tmp_path / "state")
        assert (done.returncode, done.stdout, done.stderr) == (42, "pyinit\nsame\n", "")


@pytest.mark.parametrize("target", ["/etc", "../../../../../../../../etc"])
def test_image_whose_dev_is_a_link(runtime: Path, bundle: Path, tmp_path: Path, target: str) -> None:
    """The mount stays below the container's root: runc follows the link there, and crun refuses the container."""
    (bundle / "rootfs" / "dev").rmdir()
    (bundle / "rootfs" / "dev").symlink_to(target)
    passwd = (bundle / "rootfs" / "etc" / "passwd").read_bytes()
    done = start(runtime, bundle, tmp_path / "state")
    assert (done.returncode, done.stdout) == (42, "pyinit\nsame\n") or runtime.name.endswith("crun") and done.returncode
    assert (bundle / "rootfs" / "etc" / "passwd").read_bytes() == passwd
    assert not os.path.lexists("/etc/pyinit") and not os.path.lexists("/dev/pyinit")
