"""The pause images are small and reproducible, have only the needed files and their licences, and run as any user."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path

import pytest

from pyinit.lean import build
from support.container_orphans import GRACE
from support.containers import Lab, wait_for_mask
from support.proc import read_status
from support.settings import ROOT

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

MOST_BYTES = 10_500_000
MOST_BYTES_LEAN = 4000
# The folders in which podman makes mount points and files in each container.
MADE_BY_PODMAN = ("/dev/", "/etc/", "/proc/", "/run/", "/sys/")


def image_config(lab: Lab, image: str) -> dict:
    """Return podman's description of an image."""
    return json.loads(lab.podman("image", "inspect", image).stdout)[0]


def image_files(lab: Lab, image: str) -> dict[str, tarfile.TarInfo]:
    """Return every file of an image by its path, without folders."""
    container = lab.podman("create", image).stdout.strip()
    archive = lab.folder / "files.tar"
    lab.podman("export", "--output", archive, container)
    with tarfile.open(archive) as tar:
        return {"/" + member.name: member for member in tar if not member.isdir()}


def test_pause_image_is_small(lab: Lab, pause_image: str) -> None:
    assert image_config(lab, pause_image)["Size"] <= MOST_BYTES


def test_pause_image_is_reproducible(lab: Lab, pause_image: str) -> None:
    first = "sha256:" + image_config(lab, pause_image)["Id"]
    assert lab.build("pause-again", ROOT / "Dockerfile.pause", context=ROOT) == first


def test_lean_image_is_the_lean_pause_alone(lab: Lab, lean_image: str) -> None:
    files = image_files(lab, lean_image)
    mine = {path: file for path, file in files.items() if not path.startswith(MADE_BY_PODMAN)}
    assert list(mine) == ["/pause"]
    assert (mine["/pause"].size, oct(mine["/pause"].mode)[-3:]) == (len(build("pause", os.uname().machine)), "755")


def test_lean_image_is_small(lab: Lab, lean_image: str) -> None:
    """The size is that of its stored layers, with tar headers and padding. Besides there is only the configuration."""
    layers = json.loads(lab.podman("history", "--format", "json", lean_image).stdout)
    assert 0 < sum(layer["size"] for layer in layers) < MOST_BYTES_LEAN


def test_lean_image_is_reproducible(lab: Lab, lean_image: str) -> None:
    first = "sha256:" + image_config(lab, lean_image)["Id"]
    assert lab.build("lean-again", ROOT / "Dockerfile.pause", "--target", "lean", context=ROOT) == first


def test_default_target_is_the_python_pause(lab: Lab, pause_image: str, lean_image: str) -> None:
    assert "/pause.pyc" in image_files(lab, pause_image)
    assert "/pause.pyc" not in image_files(lab, lean_image)


def test_any_pause_says_how_to_run_it(lab: Lab, each_pause: str) -> None:
    config = image_config(lab, each_pause)["Config"]
    assert config["User"] == "65535:65535"
    assert config["Entrypoint"] == ["/pause"]
    assert not config.get("Cmd")


def test_pause_image_has_no_program_but_the_pause(lab: Lab, pause_image: str) -> None:
    files = image_files(lab, pause_image)
    programs = {path for path, file in files.items() if file.mode & 0o111 and ".so" not in path}
    interpreters = {path for path in programs if path.startswith("/usr/bin/python3.")}
    assert len(interpreters) == 1
    assert programs - interpreters == {"/pause"}
    assert "/pause.pyc" in files
    done = lab.podman("run", "--entrypoint", "/bin/sh", pause_image, check=False)
    assert done.returncode == 127


def test_pause_image_holds_the_licences_of_all_that_is_in_it(lab: Lab, pause_image: str) -> None:
    files = image_files(lab, pause_image)
    libraries = {Path(path).name.partition(".so")[0] for path in files if ".so" in path}
    assert {name for name in libraries if not name.startswith("ld-linux")} == {"libc", "libm", "libz", "libexpat"}
    python = next(path for path in files if path.startswith("/usr/bin/python3.") and not path.endswith("_pth"))
    packages = ["pyinit", f"{Path(python).name}-minimal", "libc6", "zlib1g", "libexpat1"]
    assert {f"/usr/share/doc/{package}/copyright" for package in packages} <= set(files)


@pytest.mark.parametrize("user", ["65535:65535", "1234", "0"])
def test_pause_runs_as_any_user_with_no_privilege(lab: Lab, each_pause: str, user: str) -> None:
    container = lab.start("--user", user, "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all",
                          "--security-opt", "no-new-privileges", "--unsetenv-all", each_pause)
    pid = lab.pid(container)
    wait_for_mask(pid)
    status = read_status(pid)
    assert status["Uid"].split() == [user.partition(":")[0]] * 4
    assert int(status["CapEff"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert b"PATH=" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert lab.exit_code(container) == 0
    assert lab.logs(container) == "Shutting down, got signal: Terminated\n"


def test_pause_ends_on_sigint(lab: Lab, each_pause: str) -> None:
    container = lab.start("--stop-signal", "SIGINT", each_pause)
    pid = lab.pid(container)
    wait_for_mask(pid)
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert lab.exit_code(container) == 0
    assert lab.logs(container) == "Shutting down, got signal: Interrupt\n"


def test_pause_prints_its_version(lab: Lab, each_pause: str) -> None:
    done = lab.podman("run", each_pause, "-v")
    assert done.stdout.startswith("pause")
    assert done.stderr == ""
