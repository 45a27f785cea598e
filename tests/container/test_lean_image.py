"""pyinit-lean writes valid, reproducible archives of images without a builder, and podman, containerd and skopeo take
them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyinit import __version__, lean
from support import cri
from support.containers import BASE, Lab, orphans, run, wait_for_children
from support.pods import Pod
from support.proc import children_of, read_status, waits_for_signals, zombies_of
from support.processes import run as run_program
from support.settings import PYTHON, ROOT
from support.waiting import wait_until

PROGRAMS = pytest.mark.parametrize("program", list(lean.PROGRAMS))
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
HERE = {machine: architecture for architecture, machine in ARCHITECTURES.items()}.get(os.uname().machine, "")


def name_of(program: str) -> str:
    """Return the name that the archive gives the image."""
    return f"localhost/lean-{program}:{__version__}"


@pytest.fixture(scope="session")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Write the archive of each program by the tool; return the paths."""
    folder = tmp_path_factory.mktemp("archives")
    for program in lean.PROGRAMS:
        run([PYTHON, "-m", "pyinit.lean", "image", folder / f"{program}.tar", "--program", program], cwd=ROOT)
    return {program: folder / f"{program}.tar" for program in lean.PROGRAMS}


# The bytes


def read_archive(path: Path) -> dict[str, bytes]:
    """Return the content of each file of an archive."""
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}


def follow(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """Return the blob of a descriptor; check its digest and size."""
    content = files["blobs/" + descriptor["digest"].replace(":", "/")]
    assert descriptor["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert descriptor["size"] == len(content)
    return content


def list_images(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """Yield the architecture of each image in an archive, and the digests of its manifest, configuration and layer."""
    files = read_archive(path)
    for manifest in json.loads(follow(files, json.loads(files["index.json"])["manifests"][0]))["manifests"]:
        content = json.loads(follow(files, manifest))
        yield (manifest["platform"]["architecture"], manifest["digest"], content["config"]["digest"],
               content["layers"][0]["digest"])


@PROGRAMS
def test_archive_is_an_oci_layout(archives: dict[str, Path], program: str) -> None:
    """From the index down to the one file of each machine every blob is right, and there is no other blob."""
    files = read_archive(archives[program])
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    index, = json.loads(files["index.json"])["manifests"]
    assert index["annotations"]["org.opencontainers.image.ref.name"] == name_of(program)
    seen = {"oci-layout", "index.json", "manifest.json", "blobs/" + index["digest"].replace(":", "/")}
    manifests = json.loads(follow(files, index))["manifests"]
    assert [manifest["platform"]["architecture"] for manifest in manifests] == ["amd64", "arm64"]
    for manifest in manifests:
        content = json.loads(follow(files, manifest))
        config, (layer,) = json.loads(follow(files, content["config"])), content["layers"]
        seen |= {"blobs/" + each["digest"].replace(":", "/") for each in (manifest, content["config"], layer)}
        assert config["config"] == {"User": "65535:65535", "Entrypoint": [f"/{program}"]}
        assert config["architecture"] == manifest["platform"]["architecture"]
        assert config["rootfs"]["diff_ids"] == [layer["digest"]]  # the layer is not compressed
        with tarfile.open(fileobj=io.BytesIO(follow(files, layer))) as archive:
            member, = archive
            assert (member.name, member.mode, member.mtime, member.uid, member.isfile()) == (program, 0o755, 0, 0, True)
            assert archive.extractfile(member).read() == lean.build(program, ARCHITECTURES[config["architecture"]])
    assert seen == set(files)


@PROGRAMS
def test_archive_is_the_same_each_time(archives: dict[str, Path], program: str, tmp_path: Path) -> None:
    arguments = ["image", str(tmp_path / "out"), *(["--program", program] if program != "pause" else [])]
    environment = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    assert run_program([PYTHON, "-m", "pyinit.lean", *arguments], env=environment).code == 0
    assert (tmp_path / "out").read_bytes() == archives[program].read_bytes()
    assert oct((tmp_path / "out").stat().st_mode)[-3:] == "644"


@PROGRAMS
def test_archive_is_one_for_docker_too(archives: dict[str, Path], program: str) -> None:
    """manifest.json is as `docker save` writes it, with a tag for each machine."""
    files = read_archive(archives[program])
    for entry, architecture in zip(json.loads(files["manifest.json"]), ARCHITECTURES):
        assert entry["RepoTags"] == [f"{name_of(program)}-{architecture}"]
        config = json.loads(files[entry["Config"]])
        assert config["architecture"] == architecture
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(files[layer]).hexdigest()}"
                                                for layer in entry["Layers"]]


@PROGRAMS
@pytest.mark.parametrize("kind", ["oci", "docker"])
@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_skopeo_takes_it(archives: dict[str, Path], program: str, kind: str, architecture: str, tmp_path: Path) -> None:
    if not shutil.which("skopeo"):
        pytest.skip("skopeo is not installed")
    source = f"oci-archive:{archives[program]}" if kind == "oci" else \
        f"docker-archive:{archives[program]}:{name_of(program)}-{architecture}"
    run(["skopeo", "--insecure-policy", f"--override-arch={architecture}", "copy", source, f"dir:{tmp_path}/copy"])
    manifest = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    with tarfile.open(tmp_path / "copy" / manifest["layers"][0]["digest"][7:]) as archive:
        member, = archive
        assert archive.extractfile(member).read() == lean.build(program, ARCHITECTURES[architecture])


# podman

container = pytest.mark.container


@pytest.fixture(scope="session")
def loaded(session_lab: Lab, archives: dict[str, Path]) -> dict[str, str]:
    """Load the images into podman's store; return their names."""
    for path in archives.values():
        session_lab.podman("load", "--quiet", "--input", path)
    return {program: name_of(program) for program in archives}


@container
@pytest.mark.timeout(900)
def test_podman_loads_it(lab: Lab, loaded: dict[str, str], archives: dict[str, Path]) -> None:
    for program, name in loaded.items():
        config = next(config for platform, _, config, _ in list_images(archives[program]) if platform == HERE)
        inspected = json.loads(lab.podman("image", "inspect", name).stdout)[0]
        assert f"sha256:{inspected['Id']}" == config  # podman writes its own manifest
        assert (inspected["User"], inspected["Config"]["Entrypoint"]) == ("65535:65535", [f"/{program}"])


@container
@pytest.mark.timeout(900)
def test_pause_of_a_pod(lab: Lab, loaded: dict[str, str]) -> None:
    """The pause reaps what another container of the pod leaves."""
    lab.podman("pod", "create", "--name", "shop", "--share", "pid", "--infra-image", loaded["pause"])
    lab.podman("pod", "start", "shop")
    pause = lab.pid(json.loads(lab.podman("pod", "inspect", "shop").stdout)["InfraContainerID"])
    assert Path(f"/proc/{pause}/cmdline").read_bytes().startswith(b"/pause")
    assert lab.podman("run", "--pod", "shop", BASE, *orphans(50)).stdout == "adopted by 1\n"
    wait_until(lambda: children_of(pause) == [], "all orphans to be reaped")


@container
@pytest.mark.timeout(900)
def test_init_from_the_image_in_an_image_without_python(lab: Lab, loaded: dict[str, str]) -> None:
    """The three lines of the docs work."""
    dockerfile = lab.write("Dockerfile.scratch", f'FROM {BASE}\nCOPY --from={loaded["init"]} /init /init\n'
                                                 'ENTRYPOINT ["/init", "--"]\n')
    lab.build("with-init", dockerfile)
    assert lab.podman("run", "localhost/with-init", *orphans(50)).stdout == "adopted by 1\n"
    assert lab.podman("run", "localhost/with-init", "sh", "-c", "exit 42", check=False).returncode == 42
    assert lab.podman("run", "localhost/with-init", "/no/such", check=False).returncode == 127


@container
@pytest.mark.timeout(900)
def test_init_copies_itself_to_a_volume(lab: Lab, loaded: dict[str, str]) -> None:
    """The init copies itself as an init container does for the containers of its pod."""
    lab.podman("volume", "create", "shared")
    try:
        mount = ["--volume", "shared:/shared"]
        copy = ["run", "--rm", "--user", "0", *mount, loaded["init"], "--copy-to", "/shared/init"]
        lab.podman(*copy)
        lab.podman(*copy)  # as when the pod's sandbox is made again
        done = lab.podman("run", "--rm", *mount, "--user", "1234", "--read-only", "--cap-drop", "all",
                          "--security-opt", "no-new-privileges", BASE, "/shared/init", "-g", "--", *orphans(50))
        assert done.stdout == "adopted by 1\n"
    finally:
        lab.podman("volume", "rm", "--force", "shared")


@container
@pytest.mark.timeout(900)
def test_seccomp_profile(lab: Lab, loaded: dict[str, str]) -> None:
    """Under the profile the init works, as a pause, and with the same program as its main child, which makes no other
    system calls. Other programs fail.
    """
    options = ["--security-opt", "no-new-privileges", "--security-opt",
               f"seccomp={ROOT}/deploy/seccomp/lean-init.json", "--cap-drop", "all", "--read-only"]
    pause = lab.start(*options, loaded["init"], "-P")
    wait_until(lambda: waits_for_signals(lab.pid(pause)), "the pause to wait")
    lab.podman("stop", "--time", "60", pause)
    assert lab.exit_code(pause) == 0
    done = lab.podman("run", *options, loaded["init"], "-g", "--", "/init", "--version")
    assert done.stdout == f"tini version {__version__}_pyinit\n"
    assert lab.podman("run", *options, loaded["init"], "/no/such", check=False).returncode == 127
    assert lab.podman("run", *options, "--entrypoint", "/bin/true", BASE, check=False).returncode != 0


# podman's own --init, for images that have neither Python nor a C library

STATIC = "localhost/static"


@pytest.fixture(scope="session")
def static_image(session_lab: Lab, lean_pauses: dict[str, str]) -> str:
    """Build an image of a static busybox and a lean program; return its name."""
    busybox = shutil.which("busybox")
    if not busybox or b"dynamic" in subprocess.run(["file", "-L", busybox], capture_output=True).stdout:
        pytest.skip("no static busybox is installed")
    folder = session_lab.folder / "static"
    folder.mkdir()
    shutil.copy(busybox, folder / "busybox")
    shutil.copy(lean_pauses[os.uname().machine], folder / "program")
    dockerfile = session_lab.write("Dockerfile.static", "FROM scratch\nCOPY busybox program /bin/\n")
    session_lab.build("static", dockerfile, context=folder)
    return STATIC


@container
@pytest.mark.timeout(900)
def test_init_of_podman(lab: Lab, static_image: str, lean_inits: dict[str, str]) -> None:
    """With `podman run --init --init-path` the lean init reaps, forwards signals, and keeps the exit code."""
    options = ["--init", "--init-path", lean_inits[os.uname().machine]]
    shell = [static_image, "/bin/busybox", "sh", "-c"]
    assert lab.podman("run", *options, *shell, "exit 42", check=False).returncode == 42
    assert lab.podman("run", *options, static_image, "/no/such", check=False).returncode == 127
    assert lab.podman("run", *options, static_image, "/bin/program", "-v").stdout.startswith("pause.py ")
    user = ["--user", "1234", "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
    for init, left in ((options, 0), ([], 1)):
        container = lab.start(*init, *user, static_image, "/bin/busybox", "sleep", "1000")
        pid = lab.pid(container)
        wait_until(lambda: len(children_of(pid)) == (1 if init else 0), "the main child to run")
        lab.podman("exec", container, *shell[1:], "(/bin/busybox true &)")
        wait_until(lambda: len(zombies_of(pid)) == left and len(children_of(pid)) == 1, "just what is expected")
    container = lab.start(*options, static_image, "/bin/busybox", "sleep", "1000")
    wait_until(lambda: waits_for_signals(lab.pid(container)), "the init to wait")
    assert lab.seconds("stop", "--time", 60, container) < 60
    assert lab.exit_code(container) == 143


@container
@pytest.mark.timeout(900)
def test_init_path_of_a_host(lab: Lab, static_image: str, lean_inits: dict[str, str]) -> None:
    """`init_path` in containers.conf(5) sets the init of `--init` for all containers."""
    asked = ["run", "--init", static_image, "/run/podman-init", "--version"]
    done = lab.podman(*asked, settings=f'init_path = "{lean_inits[os.uname().machine]}"')
    assert done.stdout == f"tini version {__version__}_pyinit\n"
    assert "pyinit" not in lab.podman(*asked).stdout  # podman's own init


# containerd


class Node(cri.Containerd):
    """A containerd whose lean images come from archives of the tool."""

    def __init__(self, lab: Lab, archives: dict[str, Path]) -> None:
        self.archives = {name_of(program): path for program, path in archives.items()}
        super().__init__(lab, name_of("pause"), name_of("init"), name_of("probe"), BASE)

    def import_image(self, image: str) -> None:
        """Import an image for each platform from its archive, or from the lab if it has none."""
        if image in self.archives:
            self.ctr("images", "import", "--all-platforms", self.archives[image])
        else:
            super().import_image(image)


@pytest.fixture(scope="session")
def own_node(needs_containerd: None, session_lab: Lab, archives: dict[str, Path]) -> Iterator[Node]:
    """Run a containerd with all archives."""
    with Node(session_lab, archives) as node:
        yield node


@container
@pytest.mark.timeout(900)
def test_containerd_imports_each_platform(own_node: Node, archives: dict[str, Path]) -> None:
    """containerd has each image under its name, and each platform's blobs in its store."""
    images = {line.split()[0]: line.split()[2] for line in own_node.ctr("images", "list").splitlines()[1:]}
    content = own_node.ctr("content", "list", "--quiet").split()
    for program, path in archives.items():
        files = read_archive(path)
        assert images[name_of(program)] == json.loads(files["index.json"])["manifests"][0]["digest"]
        for architecture, *digests in list_images(path):
            assert set(digests) <= set(content), architecture
    assert own_node.ctr("images", "check").count("complete") >= 3


@container
@pytest.mark.timeout(900)
def test_pause_of_a_kubernetes_pod(own_node: Node) -> None:
    """Two commands on a node are enough: write the archive, import it."""
    sleep = {"name": "web", "image": BASE, "command": ["sleep", "infinity"]}
    with Pod(own_node, {"metadata": {"name": "shop"}, "spec": {"shareProcessNamespace": True,
                                                               "containers": [sleep]}}) as pod:
        container = pod.create(sleep)
        assert pod.probe(container, orphans(20))["stdout"] == b"adopted by 1\n"
        wait_for_children(pod.pause(), 0)
        assert read_status(pod.pause())["Uid"].split() == ["65535"] * 4
