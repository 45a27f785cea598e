"""The pause reaps under containerd, the runtime of most Kubernetes nodes, called through its CRI as by a kubelet.

Two things differ from a node: there is no network (CNI), and containerd runs in a PID namespace, as on a node that is
itself a container.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from pyinit.linux.procfs import list_processes
from support import cri
from support.containers import BASE, Lab, orphans, wait_for_children, wait_for_mask, wait_for_zombies
from support.cri import DEADLINE_EXCEEDED, Containerd, RpcError
from support.pods import NOT_READY, READY, Pod
from support.proc import children_of, read_status, zombies_of
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

COUNT = 20

SLEEP = {"name": "web", "image": BASE, "command": ["sleep", "infinity"]}
SHARED = {"metadata": {"name": "shop"}, "spec": {"shareProcessNamespace": True, "containers": [SLEEP]}}
NOT_SHARED = {"metadata": {"name": "shop"}, "spec": {"containers": [SLEEP]}}


def start_pod(node: Containerd, manifest: dict) -> tuple[Pod, str]:
    """Start the manifest's pod and its first container; return the pod, and the container's ID."""
    pod = Pod(node, manifest)
    return pod, pod.create(manifest["spec"]["containers"][0])


def processes_below(node: Containerd) -> list[int]:
    """Return every process of a containerd, its shims and its containers."""
    return [pid for pid in list_processes() if node.is_ancestor_of(pid)]


def names_below(node: Containerd) -> set[str]:
    """Return the names of these processes, "" for one that has just ended."""
    return {read_status(pid).get("Name", "") for pid in processes_below(node)}


@pytest.mark.parametrize("kind, message, data", [
    ("ExecSyncRequest", {"container_id": "ab", "cmd": ["c", ""], "timeout": 300},
     b"\n\x02ab\x12\x01c\x12\0\x18\xac\x02"),
    ("ExecSyncResponse", {"stdout": b"\xff", "stderr": b"", "exit_code": -1},
     b"\n\x01\xff\x12\0\x18" + b"\xff" * 9 + b"\x01"),
    ("RunPodSandboxResponse", {"pod_sandbox_id": "x"}, b"\n\x01x"),
    ("ListImagesResponse", {"images": [{"id": "i", "repo_tags": [], "uid": {"value": 7}, "pinned": True}]},
     b"\n\x09\n\x01i\x2a\x02\x08\x07\x40\x01"),
])
def test_messages(kind: str, message: dict, data: bytes) -> None:
    """Messages are encoded and decoded as protobuf defines."""
    assert cri.encode(kind, message) == data
    assert cri.decode(kind, data) == message


def test_message_with_unknown_fields_and_without_known_ones() -> None:
    assert cri.decode("ContainerStatus", b"\n\x01x\x22\0\x98\x06\x05") == {"state": 0, "exit_code": 0}


def test_image_says_who_it_runs_as(node: Containerd) -> None:
    images = {tag: image for image in node.call("ListImages")["images"] for tag in image["repo_tags"]}
    assert images[f"{node.pause}:latest"]["uid"] == {"value": 65535}


def test_pause_has_no_privilege(node: Containerd) -> None:
    """The image and the runtime take all privileges from the pause, without a setting in the manifest."""
    with Pod(node, SHARED) as pod:
        assert pod.state() == READY
        pause = pod.pause()
        wait_for_mask(pause)
        status = read_status(pause)
        assert (status["Uid"].split(), int(status["CapEff"], 16), status["NoNewPrivs"]) == (["65535"] * 4, 0, "1")
        root = next(line.split() for line in Path(f"/proc/{pause}/mountinfo").read_text().splitlines()
                    if line.split()[4] == "/")
        assert "ro" in root[5].split(",")


def test_pod_reaps_what_probes_leave(node: Containerd) -> None:
    """As in the incident, each health check leaves a process. The pause reaps them, and the pod lives on."""
    pod, container = start_pod(node, SHARED)
    with pod:
        for _ in range(COUNT):
            assert pod.probe(container, orphans(1))["stdout"] == b"adopted by 1\n"
        assert pod.probe(container, orphans(COUNT))["stdout"] == b"adopted by 1\n"
        wait_for_children(pod.pause(), 0)


@pytest.mark.parametrize("each_pause", ["pause_image"], indirect=True)
def test_change_of_the_pause(needs_containerd: None, session_lab: Lab, sleep_image: str, each_pause: str) -> None:
    """A running pod keeps its pause and each new pod has the new one, in both directions. The old pause does not reap,
    which also shows that the tests of the reaping can fail.
    """
    with Containerd(session_lab, sleep_image, BASE) as node:
        before, container = start_pod(node, SHARED)
        old = before.pause()
        node.change_pause(each_pause)
        assert (before.state(), before.pause()) == (READY, old)
        assert before.probe(container, orphans(COUNT))["stdout"] == b"adopted by 1\n"
        wait_for_zombies(old, COUNT)
        after, container = start_pod(node, SHARED)
        assert after.probe(container, orphans(COUNT))["stdout"] == b"adopted by 1\n"
        wait_for_children(after.pause(), 0)
        new = after.pause()
        node.change_pause(sleep_image)
        assert (after.state(), after.pause(), len(zombies_of(old))) == (READY, new, COUNT)
        again, _ = start_pod(node, SHARED)
        assert read_status(again.pause())["Name"] == "sleep"


def test_pause_does_nothing_for_a_pod_that_does_not_share(node: Containerd) -> None:
    """Without a shared PID namespace PID 1 is the container's own program, so a pause that reaps does not help."""
    pod, container = start_pod(node, NOT_SHARED)
    with pod:
        assert pod.probe(container, orphans(COUNT))["stdout"] == b"adopted by 1\n"
        init = pod.first_process(container)
        assert init != pod.pause() and not children_of(pod.pause())
        wait_for_zombies(init, COUNT)


def test_probe_that_takes_too_long_leaves_its_children(node: Containerd) -> None:
    """The runtime kills only the probe's first process. The pause adopts the others, and reaps them when they end."""
    pod, container = start_pod(node, SHARED)
    with pod:
        pause = pod.pause()
        for seconds in (1, 8, 64):
            with pytest.raises(RpcError) as caught:
                pod.probe(container, ["sh", "-c", "sleep infinity >/dev/null 2>&1 & wait"], seconds)
            assert caught.value.status == DEADLINE_EXCEEDED
            if children_of(pause):  # or it had no time to start its child
                break
        wait_for_children(pause, 1)
        assert not zombies_of(pause)
        os.kill(children_of(pause)[0], signal.SIGKILL)
        wait_for_children(pause, 0)


def test_probe_reports_its_end(node: Containerd) -> None:
    pod, container = start_pod(node, SHARED)
    with pod:
        done = pod.probe(container, ["sh", "-c", "echo out; echo error >&2; exit 7"])
        assert done == {"stdout": b"out\n", "stderr": b"error\n", "exit_code": 7}


def test_pod_survives_the_end_of_a_container(node: Containerd) -> None:
    """The pause stays the same when a container ends and another one is started, as the kubelet does."""
    pod, container = start_pod(node, SHARED)
    with pod:
        pause = pod.pause()
        os.kill(pod.first_process(container), signal.SIGKILL)
        assert pod.finish(container) == 128 + signal.SIGKILL
        again = pod.create({**SLEEP, "name": "web-again"})
        assert pod.probe(again, orphans(COUNT))["stdout"] == b"adopted by 1\n"
        wait_for_children(pause, 0)
        assert pod.pause() == pause


def test_stop_ends_the_pod(node: Containerd) -> None:
    """The pause ends by SIGKILL, or at SIGTERM with exit code 0; strace(1) shows which."""
    if not shutil.which("strace"):
        pytest.skip("not installed: strace")
    pod, _ = start_pod(node, SHARED)
    with pod, tempfile.NamedTemporaryFile() as log:
        pause = pod.pause()
        wait_for_mask(pause)
        tracer = subprocess.Popen(["strace", "-qq", "--trace=none", f"--output={log.name}", f"--attach={pause}"])
        with tracer:
            wait_until(lambda: read_status(pause).get("TracerPid", "0") != "0", "strace to attach")
            pod.stop()
            tracer.wait(60)
        assert pod.state() == NOT_READY
        assert Path(log.name).read_text().splitlines()[-1] in ("+++ killed by SIGKILL +++", "+++ exited with 0 +++")
        wait_until(lambda: not {"pause", "sleep"} & names_below(node), "the pod's processes to end")


def test_next_run_removes_what_was_killed(needs_containerd: None, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run removes the folders and cgroups of a run that has ended, and keeps those of one that is alive."""
    monkeypatch.setattr(cri, "CACHE", tmp_path)
    with subprocess.Popen(["true"]) as gone:
        pass
    hierarchy = Path("/sys/fs/cgroup/pids" if Path("/sys/fs/cgroup/pids").is_dir() else "/sys/fs/cgroup")
    kept, removed = ((tmp_path / f"cri-{pid}-test", hierarchy / f"pyinit-cri-{pid}-test")
                     for pid in (os.getpid(), gone.pid))
    try:
        for folder, cgroup in (kept, removed):
            (folder / "root").mkdir(parents=True)
            (cgroup / "kubepods").mkdir(parents=True)
            for path in (folder, cgroup):
                os.utime(path, (0, 0))
        cri.remove_left_overs()
        assert [path.exists() for path in (*kept, *removed)] == [True, True, False, False]
    finally:
        for _, cgroup in (kept, removed):
            cri.remove_cgroups(cgroup.name)


def test_nothing_is_left_of_a_containerd(needs_containerd: None, session_lab: Lab, pause_image: str) -> None:
    """A containerd that ends with a running pod leaves no process, mount, cgroup or folder."""
    with Containerd(session_lab, pause_image) as node:
        Pod(node, SHARED).create({"name": "web", "image": f"{pause_image}:latest"})
        below = processes_below(node)
        assert len(below) >= 5  # unshare, PID 1, containerd, a shim, the pause, the container
    wait_until(lambda: not set(below) & set(list_processes()), "its processes to end")
    assert not node.folder.exists()
    assert str(node.folder) not in Path("/proc/self/mounts").read_text()
    assert not cri.find_cgroups(node.cgroup)
