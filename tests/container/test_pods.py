"""In a pod with a shared PID namespace the pause reaps what the containers leave."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from textwrap import indent

import pytest

from support.container_orphans import (COUNT, GRACE, HEALTH_CHECK, SHORT_GRACE, leave_orphan_by_exec,
                                       leave_orphan_by_health_check)
from support.containers import BASE, Lab, orphans, orphans_then_wait, wait_for_children, wait_for_mask, wait_for_zombies
from support.proc import read_status, stop, waits_for_signals
from support.settings import ROOT
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

POD = """\
apiVersion: v1
kind: Pod
metadata:
  name: shop
  labels:
    app: shop
spec:
  shareProcessNamespace: true
  restartPolicy: Never
  containers:
    - name: web
      image: {base}
      imagePullPolicy: Never
      command: ["python3", "-ISc"]
      args:
        - |
{script}
        - "{count}"
      securityContext:
        runAsUser: 1000
        readOnlyRootFilesystem: true
        allowPrivilegeEscalation: false
    - name: helper
      image: {base}
      imagePullPolicy: Never
      command: ["sleep", "infinity"]
"""


def make_pod(lab: Lab, image: str, *options: str) -> tuple[str, int]:
    """Start a pod that shares its PID namespace; return its ID, and the PID of its first process on this machine."""
    pod = lab.podman("pod", "create", "--share", "pid,ipc,net", "--infra-image", image, *options).stdout.strip()
    lab.podman("pod", "start", pod)
    return pod, pod_pid(lab, pod)


def pod_pid(lab: Lab, pod: str) -> int:
    """Return the PID of a pod's first process on this machine."""
    return lab.pid(infra_container(lab, pod))


def infra_container(lab: Lab, pod: str) -> str:
    """Return the ID of a pod's own container, which is the pause."""
    return json.loads(lab.podman("pod", "inspect", pod).stdout)["InfraContainerID"]


def test_pod_reaps_the_orphans_of_a_container(lab: Lab, each_pause: str) -> None:
    pod, pause = make_pod(lab, each_pause)
    container = lab.start("--pod", pod, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_children(pause, 0)
    assert lab.seconds("pod", "stop", "--time", GRACE, pod) < GRACE


def test_pod_reaps_what_exec_and_health_checks_leave(lab: Lab, each_pause: str) -> None:
    pod, pause = make_pod(lab, each_pause)
    container = lab.start("--pod", pod, *HEALTH_CHECK, BASE, "sleep", "infinity")
    assert lab.podman("exec", container, *orphans(COUNT)).stdout == "adopted by 1\n"
    wait_for_children(pause, 0)
    for leave_orphan in (leave_orphan_by_exec, leave_orphan_by_health_check):
        os.kill(leave_orphan(lab, container, pause), signal.SIGKILL)
        wait_for_children(pause, 0)
    assert lab.seconds("pod", "stop", "--time", GRACE, pod) < GRACE


def test_pod_entered_as_catatonit(lab: Lab) -> None:
    """A launcher works as podman's own kind of infra container, `/catatonit -P`."""
    dockerfile = lab.write("Dockerfile.catatonit", f"FROM {BASE}\nRUN --mount=from=pyinit,target=/tmp/pyinit "
                           "cd /tmp/pyinit && python3 -m pyinit.launcher /catatonit\n"
                           'ENTRYPOINT ["/catatonit", "-P"]\n')
    lab.build("catatonit", dockerfile, "--build-context", f"pyinit={ROOT}")
    pod, pause = make_pod(lab, "localhost/catatonit")
    wait_until(lambda: waits_for_signals(pause), "the pause to wait")
    assert read_status(pause)["Name"] == "catatonit"
    container = lab.start("--pod", pod, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_children(pause, 0)
    assert lab.seconds("pod", "stop", "--time", GRACE, pod) < GRACE


def test_pod_survives_the_end_of_a_container(lab: Lab, each_pause: str) -> None:
    pod, pause = make_pod(lab, each_pause)
    first = lab.start("--pod", pod, BASE, *orphans(COUNT))
    assert lab.exit_code(first) == 0
    second = lab.start("--pod", pod, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(second, "adopted by 1")
    wait_for_children(pause, 0)
    assert pod_pid(lab, pod) == pause


def test_pod_lets_the_kernel_reap(lab: Lab, pause_image: str) -> None:
    """With PYINIT_REAP=kernel in the pause image, orphans are reaped even while the pause is stopped."""
    dockerfile = lab.write("Dockerfile.pause-kernel", f"FROM {pause_image}\nENV PYINIT_REAP=kernel\n")
    lab.build("pause-kernel", dockerfile)
    pod, pause = make_pod(lab, "localhost/pause-kernel")
    wait_for_mask(pause)
    wait_until(lambda: int(read_status(pause)["SigIgn"], 16) >> (signal.SIGCHLD - 1) & 1, "SIGCHLD to be ignored")
    stop(pause)
    container = lab.start("--pod", pod, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_children(pause, 0)
    os.kill(pause, signal.SIGCONT)
    assert lab.seconds("pod", "stop", "--time", GRACE, pod) < GRACE


def test_pod_tells_what_it_reaps(lab: Lab, pause_image: str) -> None:
    """With PYINIT_VERBOSITY in the pause image, the log of the pod's own container has a line for each orphan."""
    dockerfile = lab.write("Dockerfile.pause-verbose", f"FROM {pause_image}\nENV PYINIT_VERBOSITY=3\n")
    lab.build("pause-verbose", dockerfile)
    pod, pause = make_pod(lab, "localhost/pause-verbose")
    container = lab.start("--pod", pod, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_children(pause, 0)
    infra = infra_container(lab, pod)
    wait_until(lambda: lab.logs(infra).count("pyinit: reaped PID ") >= COUNT, f"{COUNT} lines in the pause's log")
    reaped = re.findall(r"^pyinit: reaped PID (\d+), exit code 0$", lab.logs(infra), re.MULTILINE)
    assert len(set(reaped)) == len(reaped) == COUNT


def test_pod_without_a_reaper_keeps_zombies(lab: Lab, sleep_image: str) -> None:
    pod, init = make_pod(lab, sleep_image)
    container = lab.start("--pod", pod, *HEALTH_CHECK, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_zombies(init, COUNT)
    assert lab.podman("exec", container, *orphans(COUNT)).stdout == "adopted by 1\n"
    wait_for_zombies(init, 2 * COUNT)
    os.kill(leave_orphan_by_exec(lab, container, init), signal.SIGKILL)
    os.kill(leave_orphan_by_health_check(lab, container, init), signal.SIGKILL)
    wait_for_zombies(init, 2 * COUNT + 2)
    assert lab.seconds("pod", "stop", "--time", SHORT_GRACE, pod) >= SHORT_GRACE


PROFILE = ROOT / "deploy" / "seccomp" / "lean-pause.json"
SECCOMP = ["--security-opt", "no-new-privileges", "--security-opt", f"seccomp={PROFILE}"]
FILTERED = "2"  # proc(5), Seccomp: SECCOMP_MODE_FILTER


def filter_of(lab: Lab, container: str) -> tuple[str, set[str]]:
    """Return a container's seccomp filter: its action for system calls that it does not name, and those it names."""
    seccomp = json.loads(Path(lab.inspect(container)["OCIConfigPath"]).read_text())["linux"]["seccomp"]
    return seccomp["defaultAction"], {name for rule in seccomp["syscalls"] for name in rule["names"]}


def check_filter(lab: Lab, container: str) -> None:
    """Check that a container runs under this profile, and not under podman's own, which is also a filter."""
    named = {name for rule in json.loads(PROFILE.read_text())["syscalls"] for name in rule["names"]}
    assert filter_of(lab, container) == ("SCMP_ACT_ERRNO", named)
    status = read_status(lab.pid(container))
    assert (status["Seccomp"], status["NoNewPrivs"]) == (FILTERED, "1")


def test_lean_pause_runs_under_its_seccomp_profile(lab: Lab, lean_image: str) -> None:
    container = lab.start(*SECCOMP, "--cap-drop", "all", "--read-only", lean_image)
    pid = lab.pid(container)
    wait_until(lambda: waits_for_signals(pid), "the pause to wait")
    check_filter(lab, container)
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert (lab.exit_code(container), lab.logs(container)) == (0, "Shutting down, got signal: Terminated\n")
    assert lab.podman("run", *SECCOMP, lean_image, "-v").stdout.startswith("pause.py ")


def test_pod_reaps_under_the_seccomp_profile(lab: Lab, lean_image: str) -> None:
    pod, pause = make_pod(lab, lean_image, *SECCOMP)
    container = lab.start("--pod", pod, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    check_filter(lab, infra_container(lab, pod))
    assert filter_of(lab, container) != filter_of(lab, infra_container(lab, pod))
    wait_for_children(pause, 0)
    assert lab.seconds("pod", "stop", "--time", GRACE, pod) < GRACE


def test_seccomp_profile_is_in_force(lab: Lab, pause_image: str) -> None:
    """No other program runs under the profile, neither the Python pause nor a shell's command."""
    for image in ([pause_image, "-v"], [BASE, "true"]):
        done = lab.podman("run", *SECCOMP, *image, check=False)
        assert done.returncode != 0 and not done.stdout
        assert lab.podman("run", *image).returncode == 0


@pytest.mark.parametrize("name", ["wait4", "rt_sigtimedwait"])
def test_seccomp_profile_without_a_call(lab: Lab, lean_image: str, name: str) -> None:
    """A system call that is removed from the profile fails. The pause survives that only for wait4(2)."""
    profile = json.loads(PROFILE.read_text())
    profile["syscalls"][0]["names"].remove(name)
    path = lab.write("seccomp.json", json.dumps(profile))
    container = lab.start("--security-opt", "no-new-privileges", "--security-opt", f"seccomp={path}", lean_image)
    if name == "wait4":
        wait_until(lambda: waits_for_signals(lab.pid(container)), "the pause to wait")
        lab.podman("stop", container)
    assert lab.exit_code(container) == (0 if name == "wait4" else 1)


def play(lab: Lab, image: str) -> int:
    """Start the manifest's pod with an image as its pause; return the PID of its first process on this machine."""
    *_, script, count = orphans_then_wait(COUNT)
    manifest = lab.write("pod.yaml", POD.format(base=BASE, script=indent(script, " " * 10), count=count))
    lab.podman("play", "kube", "--network", "none", manifest, infra=image.rpartition("/")[2])
    return pod_pid(lab, "shop")


def test_play_kube_reaps_with_the_pause(lab: Lab, each_pause: str) -> None:
    pause = play(lab, each_pause)
    lab.wait_for_line("shop-web", "adopted by 1")
    wait_for_children(pause, 0)
    assert lab.podman("exec", "shop-helper", *orphans(COUNT)).stdout == "adopted by 1\n"
    wait_for_children(pause, 0)
    os.kill(leave_orphan_by_exec(lab, "shop-helper", pause), signal.SIGKILL)
    wait_for_children(pause, 0)
    assert lab.seconds("pod", "stop", "--time", GRACE, "shop") < GRACE


def test_play_kube_without_a_reaper_keeps_zombies(lab: Lab, sleep_image: str) -> None:
    init = play(lab, sleep_image)
    lab.wait_for_line("shop-web", "adopted by 1")
    wait_for_zombies(init, COUNT)
    assert lab.podman("exec", "shop-helper", *orphans(COUNT)).stdout == "adopted by 1\n"
    wait_for_zombies(init, 2 * COUNT)
