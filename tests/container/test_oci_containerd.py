"""The OCI runtime works under containerd, as a runtime handler that pods name, and as the default of all pods.

The handler is that of deploy/kubernetes/runtime-class with the paths of this machine.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.containers import BASE, Lab, orphans, wait_for_children, wait_for_zombies
from support.cri import Containerd
from support.oci import write_handler
from support.pods import Pod
from support.proc import children_of, read_status
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

COUNT = 20

SLEEP = {"name": "web", "image": BASE, "command": ["sleep", "infinity"]}
WHO = ["cat", "/proc/1/comm"]


def manifest(handler: str = "", inject: str = "", **spec: object) -> dict:
    """Return the manifest of a pod without a shared PID namespace. inject: the value of its annotation, "" for none."""
    annotations = {"pyinit.init/inject": inject} if inject else {}
    return {"metadata": {"name": "shop", "annotations": annotations}, "spec": {"runtimeClassName": handler, **spec}}


@pytest.fixture(scope="module")
def handler(install_folder: Path) -> str:
    """Return the handler's section of containerd's configuration."""
    return write_handler(install_folder)


@pytest.fixture(scope="module")
def node(needs_containerd: None, session_lab: Lab, sleep_image: str, handler: str) -> Iterator[Containerd]:
    """Run a containerd with the handler. Its pause, `sleep`, is not recognised as an init by its name."""
    with Containerd(session_lab, sleep_image, BASE, handlers=handler) as containerd:
        yield containerd


@pytest.mark.parametrize("name", ["runc", "init"])
def test_health_check(node: Containerd, name: str) -> None:
    """Each health check leaves an orphan to PID 1, which stays a zombie or is reaped."""
    with Pod(node, manifest(name)) as pod:
        container = pod.create(SLEEP)
        first = pod.first_process(container)
        for _ in range(COUNT):
            assert pod.probe(container, orphans(1))["stdout"] == b"adopted by 1\n"
        if name == "runc":
            wait_for_zombies(first, COUNT)
        else:
            wait_for_children(first, 1)
            wait_until(lambda: read_status(children_of(first)[0])["Name"] == "sleep", "its program")
            assert pod.probe(container, WHO)["stdout"] == b"pyinit\n"


def test_pause_is_left_alone(node: Containerd) -> None:
    with Pod(node, manifest("init")) as pod:
        assert read_status(pod.pause())["Name"] == "sleep"


def test_shared_pid_namespace_is_left_alone(node: Containerd) -> None:
    with Pod(node, manifest("init", shareProcessNamespace=True)) as pod:
        container = pod.create(SLEEP)
        assert pod.probe(container, WHO)["stdout"] == b"sleep\n"
        assert read_status(pod.first_process(container))["Name"] == "sleep"


def test_pod_that_says_no(node: Containerd) -> None:
    """The annotation reaches the runtime by the setting of the snippet."""
    with Pod(node, manifest("init", "false")) as pod:
        assert pod.probe(pod.create(SLEEP), WHO)["stdout"] == b"sleep\n"


def test_exec_and_logs(node: Containerd) -> None:
    with Pod(node, manifest("init")) as pod:
        container = {**SLEEP, "command": ["sh", "-c", "echo out; echo error >&2; exec sleep infinity"]}
        web = pod.create(container)
        assert pod.probe(web, ["sh", "-c", "echo out; echo error >&2; exit 7"]) == \
            {"stdout": b"out\n", "stderr": b"error\n", "exit_code": 7}
        wait_until(lambda: pod.log(container).count("\n") == 2, "the container's lines")
        lines = [line.split(" ", 1)[1] for line in pod.log(container).splitlines()]
        assert sorted(lines) == ["stderr F error", "stdout F out"]


@pytest.mark.parametrize("script, code", [
    ("echo ready; exec sleep infinity", 128 + signal.SIGTERM),
    ("trap 'exit 42' TERM; echo ready; while :; do sleep 0.1; done", 42),
])
def test_stop(node: Containerd, script: str, code: int) -> None:
    """A container ends within its grace, which is longer than the test may take, and keeps the program's exit code."""
    container = {**SLEEP, "command": ["sh", "-c", script]}
    with Pod(node, manifest("init")) as pod:
        identity = pod.create(container)
        wait_until(lambda: "ready\n" in pod.log(container), "the program to be ready")
        assert pod.end(identity, 1000) == code


@pytest.mark.parametrize("command, code", [(["sh", "-c", "exit 43"], 43), (["no-such-command"], 127)])
def test_end(node: Containerd, command: list[str], code: int) -> None:
    """A container that ends by itself keeps the program's exit code.

    It is not stopped as well: containerd fails StopContainer with "ttrpc: closed" while it deletes an ended task.
    """
    with Pod(node, manifest("init")) as pod:
        assert pod.finish(pod.create({**SLEEP, "command": command})) == code


def test_terminal(node: Containerd) -> None:
    script = 'read pid comm state ppid group session tty foreground rest </proc/$$/stat; ' \
             'test "$group" = "$foreground" && echo foreground of $(tty)'
    container = {**SLEEP, "tty": True, "command": ["sh", "-c", script]}
    with Pod(node, manifest("init")) as pod:
        assert pod.finish(pod.create(container)) == 0
        wait_until(lambda: "stdout F foreground of /dev/pts/0\n" in pod.log(container), "the answer in the log")


def test_restart_of_containerd(node: Containerd) -> None:
    """When containerd restarts, the container runs on and works as before."""
    with Pod(node, manifest("init")) as pod:
        container = pod.create(SLEEP)
        first = pod.first_process(container)
        node.restart()
        assert pod.probe(container, orphans(COUNT))["stdout"] == b"adopted by 1\n"
        wait_for_children(first, 1)
        assert pod.end(container, 1000) == 128 + signal.SIGTERM


def test_all_containers_of_a_node(needs_containerd: None, session_lab: Lab, sleep_image: str, handler: str) -> None:
    """If the handler is the default, pods need not name it."""
    with Containerd(session_lab, sleep_image, BASE, handlers=handler, default="init") as node, \
            Pod(node, manifest()) as pod:
        container = pod.create(SLEEP)
        assert pod.probe(container, WHO)["stdout"] == b"pyinit\n"
        assert read_status(pod.pause())["Name"] == "sleep"
        assert pod.probe(container, orphans(COUNT))["stdout"] == b"adopted by 1\n"
        wait_for_children(pod.first_process(container), 1)
