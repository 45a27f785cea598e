"""The probes give the right answer in containers: by exec, and as an image that joins a container's PID namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from support.containers import BASE, PYTHON_BASE, Lab
from support.cri import Containerd
from support.pods import Pod
from support.proc import children_of, zombies_of
from support.settings import ROOT
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

REAPED, NOT_REAPED = "reaped: ", "not reaped: "


@pytest.fixture(scope="session")
def probe_image(session_lab: Lab) -> str:
    """Load the lean probe's image by the commands of docs/lean.md; return its name."""
    return session_lab.load_lean("probe")


@pytest.fixture
def web(lab: Lab, request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """Start a container with `sleep` as PID 1, or below pyinit; return its ID, and how an answer begins there."""
    lab.import_base(PYTHON_BASE, "python3")
    mounts = ["--volume", f"{ROOT}/pyinit:/checkout/pyinit:ro", "--workdir", "/checkout"]
    init = ["python3", "-m", "pyinit", "--"] if request.param == "pyinit" else []
    container = lab.start(*mounts, PYTHON_BASE, *init, "sleep", "1000")
    wait_until(lambda: len(children_of(lab.pid(container))) == len(init[:1]), "the main child to run")
    yield container, REAPED if init else NOT_REAPED


def check(done: subprocess.CompletedProcess, answer: str, name: str) -> None:
    """Check that the answer is one line that names the process that adopted the orphan, and check the exit code."""
    assert done.stdout.startswith(f"{answer}{name} (PID 1) adopted an orphan and "), done
    assert (done.stdout.count("\n"), done.returncode) == (1, 0 if answer == REAPED else 2)


@pytest.mark.parametrize("web", ["sleep", "pyinit"], indirect=True)
@pytest.mark.parametrize("way", ["exec", "copy", "image"])
def test_podman(lab: Lab, web: tuple[str, str], way: str, probe_image: str, lean_probes: dict[str, str]) -> None:
    """The report runs by exec; the lean probe runs as a copy in the container, and as an image beside it."""
    container, answer = web
    pid = lab.pid(container)
    if way == "exec":
        command = ["exec", container, "python3", "-m", "pyinit.zombies", "--probe"]
    elif way == "image":
        command = ["run", "--rm", "--pid", f"container:{container}", probe_image]
    else:
        lab.podman("cp", lean_probes[os.uname().machine], f"{container}:/probe")
        command = ["exec", container, "/probe"]
    done = lab.podman(*command, check=False)
    check(done, answer, "sleep" if answer == NOT_REAPED else "python3")
    assert len(zombies_of(pid)) == int(answer == NOT_REAPED)


@pytest.mark.parametrize("each_pause", ["lean_image"], indirect=True)
def test_ephemeral_container(node: Containerd, probe_image: str) -> None:
    """The probe works as by `kubectl debug --target`, in the PID namespace of a container, and in that of a pod."""
    node.import_image(probe_image)
    sleep = {"name": "web", "image": BASE, "command": ["sleep", "infinity"]}
    debug = {"name": "debugger", "image": probe_image}
    for spec, answer, code in (({}, f"{NOT_REAPED}sleep (PID 1)", 2),
                               ({"shareProcessNamespace": True}, f"{REAPED}pause (PID 1)", 0)):
        with Pod(node, {"metadata": {"name": "shop"}, "spec": {**spec, "containers": [sleep]}}) as pod:
            web = pod.create(sleep)
            assert pod.finish(pod.create(debug, target=web)) == code
            wait_until(lambda: pod.log(debug).endswith("\n"), "a line in the log")
            assert f" stdout F {answer} adopted an orphan" in pod.log(debug)
