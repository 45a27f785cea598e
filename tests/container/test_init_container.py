"""deploy/kubernetes/init-container.yaml gives a container the lean init by an init container, and it reaps."""

from __future__ import annotations

import copy
import json

import pytest

from pyinit import __version__
from support.containers import BASE, Lab, orphans, wait_for_children, wait_for_zombies
from support.cri import Containerd
from support.manifests import read_manifests, violations
from support.pods import Pod
from support.proc import read_status
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

IMAGE = f"localhost/lean-init:{__version__}"
PROBES = 5


@pytest.fixture(scope="session")
def init_image(session_lab: Lab) -> str:
    """Load the lean init's image by the commands of docs/lean.md; return its name."""
    return session_lab.load_lean("init")


@pytest.fixture(scope="module")
def written() -> dict:
    """Return the manifest unchanged."""
    manifest, = read_manifests("init-container.yaml")
    return manifest


@pytest.fixture
def pod(written: dict) -> dict:
    """Return the manifest with an image that the tests have."""
    manifest = copy.deepcopy(written)
    manifest["spec"]["containers"][0]["image"] = BASE
    return manifest


def without_init(pod: dict) -> dict:
    """Remove the init from a pod, with which the tests of the reaping must fail; return the pod."""
    del pod["spec"]["initContainers"]
    pod["spec"]["containers"][0]["command"][:2] = []
    return pod


def test_pod_is_restricted(written: dict) -> None:
    assert violations(written["spec"]) == set()
    assert "shareProcessNamespace" not in written["spec"]


def test_manifest_fits_together(written: dict) -> None:
    """The image has this version. The second container runs the file that the first writes, and cannot change it."""
    (first,), (web,) = written["spec"]["initContainers"], written["spec"]["containers"]
    assert first["image"] == IMAGE
    (mount,), (same,) = first["volumeMounts"], web["volumeMounts"]
    assert same == {**mount, "readOnly": True} and not mount.get("readOnly")
    assert first["args"] == ["--copy-to", f"{mount['mountPath']}/init"]
    assert web["command"][:2] == [first["args"][1], "--"]
    volume, = written["spec"]["volumes"]
    assert volume["name"] == mount["name"] and "emptyDir" in volume


@pytest.mark.parametrize("has_init", [True, False])
def test_play(lab: Lab, pod: dict, init_image: str, lean_image: str, has_init: bool) -> None:
    """In podman's pod the init reaps what the probes leave; without it, zombies stay.

    podman 4.3 removes an init container of the type "once" as soon as it has ended, and fails if its state still says
    that it runs, so the type is "always".
    """
    pod["metadata"]["annotations"] = {"io.podman.annotations.init.container.type": "always"}
    if not has_init:
        without_init(pod)
    manifest = lab.write("init-container.json", json.dumps(pod))
    lab.podman("play", "kube", "--network", "none", manifest, infra=lean_image.rpartition("/")[2])
    container = f"{pod['metadata']['name']}-web"
    pid = lab.pid(container)
    assert read_status(pid)["Name"] == ("init" if has_init else "sleep")
    for _ in range(PROBES):
        lab.podman("exec", container, *pod["spec"]["containers"][0]["livenessProbe"]["exec"]["command"])
    if has_init:
        wait_for_children(pid, 1)
    else:
        wait_for_zombies(pid, PROBES)
    # For 20 seconds and more, podman 4.3 may show an init container that ended at once as running, and a removal may
    # fail with "container state improper".
    wait_until(lambda: lab.podman("pod", "rm", "--all", "--force", "--time", "0", check=False).returncode == 0,
               "podman to remove the pod")


@pytest.mark.parametrize("each_pause", ["lean_image"], indirect=True)
def test_under_containerd(node: Containerd, pod: dict, init_image: str) -> None:
    """Under containerd the init container may run twice, as when a pod's sandbox is made again. The init reaps what
    probes leave, cannot be changed, and ends at SIGTERM.
    """
    node.import_image(init_image)
    (first,), (web,) = pod["spec"]["initContainers"], pod["spec"]["containers"]
    with Pod(node, pod) as sandbox:
        assert sandbox.finish(sandbox.create(first)) == 0
        assert sandbox.finish(sandbox.create({**first, "name": "again"})) == 0
        container = sandbox.create(web)
        assert sandbox.probe(container, ["cat", "/proc/1/comm"])["stdout"] == b"init\n"
        probe = web["livenessProbe"]
        for _ in range(PROBES):
            assert sandbox.probe(container, probe["exec"]["command"], probe["timeoutSeconds"])["exit_code"] == 0
        assert sandbox.probe(container, orphans(PROBES))["stdout"] == b"adopted by 1\n"
        init = sandbox.first_process(container)
        wait_for_children(init, 1)
        status = read_status(init)
        user = str(pod["spec"]["securityContext"]["runAsUser"])
        assert (status["Uid"].split(), int(status["CapEff"], 16), status["NoNewPrivs"]) == ([user] * 4, 0, "1")
        replaced = sandbox.probe(container, ["sh", "-c", "echo x >/shared/init"])
        assert replaced["exit_code"] != 0 and b"Read-only file system" in replaced["stderr"]
        assert sandbox.end(container, 30) == 143


@pytest.mark.parametrize("each_pause", ["lean_image"], indirect=True)
def test_under_containerd_without_the_init(node: Containerd, pod: dict) -> None:
    web, = without_init(pod)["spec"]["containers"]
    with Pod(node, pod) as sandbox:
        container = sandbox.create(web)
        for _ in range(PROBES):
            sandbox.probe(container, web["livenessProbe"]["exec"]["command"])
        wait_for_zombies(sandbox.first_process(container), PROBES)
