"""Each file of deploy/kubernetes/runtime-class is accepted by the program that it is for, and its pod has an init."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator

import pytest

from support.containers import BASE, run, wait_for_children
from support.cri import Containerd
from support.manifests import FOLDER, need, read_manifests, violations
from support.oci import PATH, write_handler
from support.pods import Pod
from support.proc import stop
from support.settings import ROOT

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

SNIPPETS = [path for path in sorted((FOLDER / "runtime-class").iterdir()) if path.suffix in (".toml", ".conf")]
PROBES = 5


@pytest.fixture(scope="module")
def pod() -> dict:
    """Return the pod of pod.yaml with an image that the tests have."""
    (manifest,) = read_manifests("runtime-class/pod.yaml")
    manifest["spec"]["containers"][0]["image"] = BASE
    return manifest


def test_pod_names_the_class_and_the_class_the_handler(pod: dict) -> None:
    (runtime_class,) = read_manifests("runtime-class/runtimeclass.yaml")
    assert (runtime_class["apiVersion"], runtime_class["kind"]) == ("node.k8s.io/v1", "RuntimeClass")
    assert pod["spec"]["runtimeClassName"] == runtime_class["metadata"]["name"] == runtime_class["handler"] == "init"
    for path in SNIPPETS:
        assert ".runtimes.init]" in path.read_text(), path
    assert violations(pod["spec"]) == set()
    assert "shareProcessNamespace" not in pod["spec"]


@pytest.mark.parametrize("path", SNIPPETS, ids=lambda path: path.name)
def test_snippets_are_toml_and_name_one_path(path) -> None:
    text = path.read_text()
    assert pytest.importorskip("tomllib").loads(text)
    assert re.findall(r'^ *(?:BinaryName|runtime_path) = "(.*)"', text, re.MULTILINE) == [PATH]
    assert f"--oci-runtime {PATH}\n" in (ROOT / "docs" / "oci-runtime.md").read_text()


def test_containerd_1_reads_its_snippet() -> None:
    config = run([need("containerd"), "--config", FOLDER / "runtime-class" / "containerd-1.x.toml", "config", "dump"])
    section = config.stdout.partition("containerd.runtimes.init]")[2]
    assert re.search(r'^ *pod_annotations = \["pyinit.init/inject"\]', section, re.MULTILINE)
    assert re.search(rf'^ *BinaryName = "{PATH}"', section, re.MULTILINE)


@pytest.fixture(scope="module")
def node(needs_containerd: None, session_lab, sleep_image: str, install_folder) -> Iterator[Containerd]:
    with Containerd(session_lab, sleep_image, BASE, handlers=write_handler(install_folder)) as containerd:
        yield containerd


def test_pod_under_containerd(node: Containerd, pod: dict) -> None:
    """Each probe leaves a process, and the container's init reaps it."""
    container = pod["spec"]["containers"][0]
    probe = container["livenessProbe"]
    with Pod(node, pod) as sandbox:
        web = sandbox.create(container)
        first = sandbox.first_process(web)
        assert sandbox.probe(web, ["cat", "/proc/1/comm"])["stdout"] == b"pyinit\n"
        wait_for_children(first, 1)
        stop(first)
        for _ in range(PROBES):
            assert sandbox.probe(web, probe["exec"]["command"], probe["timeoutSeconds"])["exit_code"] == 0
        wait_for_children(first, 1 + PROBES)
        os.kill(first, signal.SIGCONT)
        wait_for_children(first, 1)
        assert sandbox.probe(web, ["id", "-u"])["stdout"].decode().strip() == "10001"
