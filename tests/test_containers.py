"""pyinit in real containers: as ENTRYPOINT, as podman's --init, and as the pause of a pod."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from textwrap import indent

import pytest

import containers
from containers import (BASE, STALE, Lab, is_left_over, orphans, orphans_then_wait, remove_left_over_labs,
                        wait_for_children, wait_for_mask, wait_for_zombies)
from support import ROOT, children_of, kernel_can_reap, read_status, wait_until, waits_for_signals

from pyinit.lean import build

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first one makes the base image

ENTRYPOINT_DOCKERFILE = ROOT / "docs" / "examples" / "Dockerfile.entrypoint"
MOST_BYTES = 10_500_000
MOST_BYTES_LEAN = 4000
# What it mounts something on, in each container.
MADE_BY_PODMAN = ("/dev/", "/etc/", "/proc/", "/run/", "/sys/")
COUNT = 50
# How many seconds a container has to end upon SIGTERM before it is killed: where it is to end by itself, and where it
# will not.
GRACE, SHORT_GRACE = 60, 2
# A health check that leaves a process behind; it is run when a test asks for it.
HEALTH_CHECK = ["--health-cmd", "sleep infinity >/dev/null 2>&1 &", "--health-interval", "disable"]

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


@pytest.fixture(scope="session")
def app_image(session_lab: Lab) -> str:
    """An application image, by the README's three lines as they are: the base goes by the name that they use."""
    session_lab.podman("tag", BASE, "localhost/python:3-slim")
    session_lab.build("app", ENTRYPOINT_DOCKERFILE, "--build-context", f"pyinit={ROOT}")
    return "localhost/app"


@pytest.fixture(scope="session")
def init_path(session_lab: Lab) -> list[str]:
    """podman's options for a launcher that is on the host, installed as /usr/local/bin/pyinit.

    podman mounts the launcher under a name of its own; its .pyc has to be where the installer was told. The base image
    installs it, for its interpreter compiles it as well.
    """
    launcher, options = install_on_host(session_lab, "pyinit")
    return ["--init", "--init-path", launcher, *options]


@pytest.fixture(scope="session")
def catatonit(session_lab: Lab) -> tuple[str, list[str]]:
    """A launcher on the host that is called catatonit, podman's own init, and podman's options to have its .pyc."""
    return install_on_host(session_lab, "catatonit")


def install_on_host(lab: Lab, name: str) -> tuple[str, list[str]]:
    """Install a launcher for the base image's interpreter; return its path, and podman's options to have its .pyc."""
    folder = lab.folder / "files"
    lab.podman("run", "--rm", "--volume", f"{ROOT}:/src:ro", "--volume", f"{folder}:/usr/local/bin",
               "--workdir", "/src", BASE, "python3", "-m", "pyinit.launcher", f"/usr/local/bin/{name}")
    return f"{folder}/{name}", ["--volume", f"{folder}/{name}.pyc:/usr/local/bin/{name}.pyc:ro"]


def leave_orphan_by_exec(lab: Lab, container: str, init: int) -> int:
    """Fork in a container by `podman exec` and end: return the child, which is PID 1's now, as seen from here."""
    before = children_of(init)
    lab.podman("exec", container, "sh", "-c", "sleep infinity >/dev/null 2>&1 &")
    return wait_for_new_child(init, before)


def leave_orphan_by_health_check(lab: Lab, container: str, init: int) -> int:
    """The same by the container's health check, HEALTH_CHECK."""
    before = children_of(init)
    lab.podman("healthcheck", "run", container)
    return wait_for_new_child(init, before)


def wait_for_new_child(pid: int, before: list[int]) -> int:
    """Wait until a process has one child more, and return it."""
    wait_for_children(pid, len(before) + 1)
    return (set(children_of(pid)) - set(before)).pop()


# What a test run leaves that is killed

# A lab with a container that runs, whose process is killed.
LEAVE_LAB = """\
import os, shutil, signal, sys
sys.path.insert(0, sys.argv[1])
from containers import Lab
lab = Lab()
root = lab.folder / "files" / "root"
root.mkdir()
shutil.copy(sys.argv[2], root / "pause")
lab.start("--rootfs", root, "/pause")
print(lab.folder, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def dead() -> int:
    """The PID of a process that has gone."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


@pytest.mark.parametrize("name, age, left_over", [
    ("lab-{dead}-abc_12", 2 * STALE, True),
    ("pyinit-cri-{dead}-abc", 2 * STALE, True),
    ("lab-{dead}-abc_12", STALE / 2, False),
    ("lab-{alive}-abc_12", 2 * STALE, False),
    ("lab-abc_12", 2 * STALE, False),
    ("{dead}-abc", 2 * STALE, False),
    ("lab-{dead}-abc.tar", 2 * STALE, False),
])
def test_left_over(tmp_path: Path, dead: int, name: str, age: float, left_over: bool) -> None:
    path = tmp_path / name.format(dead=dead, alive=os.getpid())
    path.mkdir()
    assert is_left_over(path, time.time() + age) is left_over


def test_nothing_that_is_not_there_is_left_over(tmp_path: Path, dead: int) -> None:
    assert not is_left_over(tmp_path / f"lab-{dead}-abc", time.time())


def test_next_run_removes_a_lab_that_was_killed(session_lab: Lab, lean_pauses: dict[str, str], tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.uname().machine
    if machine not in lean_pauses:
        pytest.skip(f"no lean pause for {machine}, which needs no other file to run in a container")
    done = subprocess.run([sys.executable, "-c", LEAVE_LAB, os.path.dirname(__file__), lean_pauses[machine]],
                          env={**os.environ, "PYINIT_TEST_CACHE": str(tmp_path)}, stdout=subprocess.PIPE, text=True)
    assert done.returncode == -signal.SIGKILL
    left = Lab(Path(done.stdout.strip()))
    try:
        assert left.processes()
        monkeypatch.setattr(containers, "CACHE", tmp_path)
        remove_left_over_labs()
        assert left.folder.exists()  # it is young
        os.utime(left.folder, (0, 0))
        remove_left_over_labs()
        assert (left.folder.exists(), left.processes(), left.mounts()) == (False, [], [])
    finally:
        if left.folder.exists():
            left.__exit__()


# As ENTRYPOINT of an application image


@pytest.mark.parametrize("code", [0, 1, 7, 127, 255])
def test_entrypoint_keeps_the_exit_code(lab: Lab, app_image: str, code: int) -> None:
    assert lab.podman("run", app_image, "sh", "-c", f"exit {code}", check=False).returncode == code


def test_entrypoint_reports_a_death_by_signal(lab: Lab, app_image: str) -> None:
    assert lab.podman("run", app_image, "sh", "-c", "kill -KILL $$", check=False).returncode == 128 + signal.SIGKILL


def test_entrypoint_says_that_the_command_is_missing(lab: Lab, app_image: str) -> None:
    done = lab.podman("run", app_image, "no-such-command", check=False)
    assert (done.returncode, done.stdout) == (127, "")
    assert "no-such-command" in done.stderr


def test_entrypoint_says_nothing_of_its_own(lab: Lab, app_image: str) -> None:
    done = lab.podman("run", app_image, "echo", "hello")
    assert (done.stdout, done.stderr) == ("hello\n", "")


def test_entrypoint_stops_in_time(lab: Lab, app_image: str) -> None:
    container = lab.start(app_image, "sh", "-c", "echo ready; exec sleep infinity")
    lab.wait_for_line(container, "ready")
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert lab.exit_code(container) == 128 + signal.SIGTERM


def test_without_an_init_stopping_takes_the_whole_grace(lab: Lab) -> None:
    container = lab.start(BASE, "sh", "-c", "echo ready; exec sleep infinity")
    lab.wait_for_line(container, "ready")
    assert lab.seconds("stop", "--time", SHORT_GRACE, container) >= SHORT_GRACE
    assert lab.exit_code(container) == 128 + signal.SIGKILL


def test_entrypoint_reaps_orphans(lab: Lab, app_image: str) -> None:
    container = lab.start(app_image, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_children(lab.pid(container), 1)
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE


def test_entrypoint_reaps_what_exec_leaves(lab: Lab, app_image: str) -> None:
    container = lab.start(app_image, "sleep", "infinity")
    init = lab.pid(container)
    wait_for_children(init, 1)
    assert lab.podman("exec", container, *orphans(COUNT)).stdout == "adopted by 1\n"
    wait_for_children(init, 1)
    os.kill(leave_orphan_by_exec(lab, container, init), signal.SIGKILL)
    wait_for_children(init, 1)


def test_without_an_init_orphans_stay_zombies(lab: Lab) -> None:
    container = lab.start(BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_zombies(lab.pid(container), COUNT)


def test_entrypoint_runs_with_no_privilege(lab: Lab, app_image: str) -> None:
    container = lab.start("--user", "1234", "--read-only", "--read-only-tmpfs=false", "--cap-drop", "all",
                          "--security-opt", "no-new-privileges", app_image, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_children(lab.pid(container), 1)
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert lab.logs(container) == "adopted by 1\n"


def test_not_pid_1_runs_without_ctypes(lab: Lab, app_image: str) -> None:
    """python3-minimal has no ctypes, and with it no prctl(2): that is a warning, whatever was asked for."""
    container = lab.start(app_image, "sleep", "infinity")
    for options in ([], ["-s"], ["-p", "TERM"]):
        done = lab.podman("exec", container, "/sbin/pyinit", *options, "sh", "-c", "exit 7", check=False)
        assert done.returncode == 7
        assert "warning" in done.stderr and "unexpected" not in done.stderr


# The end of what is left, and reaping by the kernel


def entrypoint(*options: str) -> list[str]:
    """podman's options for pyinit with options of its own as ENTRYPOINT."""
    return ["--entrypoint", json.dumps(["/sbin/pyinit", *options, "--"])]


# Leaves a daemon that ends upon SIGTERM and says so, with a main child that does not wait for it.
LEAVE_DAEMON = """
trap 'exit 3' TERM
setsid sh -c 'trap "echo daemon ended; exit 0" TERM; echo ready; while :; do sleep 0.05; done' &
while :; do sleep 0.05; done
"""


def test_entrypoint_gives_grace(lab: Lab, app_image: str) -> None:
    container = lab.start(*entrypoint("--grace", str(2 * GRACE)), app_image, "sh", "-c", LEAVE_DAEMON)
    lab.wait_for_line(container, "ready")
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE  # it ends with the last one
    assert lab.exit_code(container) == 3
    assert "daemon ended" in lab.logs(container).splitlines()


def test_entrypoint_without_grace_ends_all_at_once(lab: Lab, app_image: str) -> None:
    container = lab.start(app_image, "sh", "-c", LEAVE_DAEMON)
    lab.wait_for_line(container, "ready")
    lab.podman("stop", container)
    assert lab.exit_code(container) == 3
    assert "daemon ended" not in lab.logs(container).splitlines()


def ctypes_of_host() -> list[str]:
    """podman's options that add this machine's _ctypes to python3-minimal, if it is of the same Debian."""
    if "VERSION_CODENAME=bookworm" not in Path("/etc/os-release").read_text():
        pytest.skip("the _ctypes of this machine is not for the container's Python")
    files = [*Path("/usr/lib").glob("python3.11/lib-dynload/_ctypes.*.so"), *Path("/usr/lib").glob("*/libffi.so.8")]
    if len(files) != 2:
        pytest.skip("this machine's python3 has no _ctypes")
    return [option for file in files for option in ("--volume", f"{file.resolve()}:{file}:ro")]


def stop_process(pid: int) -> None:
    """Keep a process from running, as a used up CPU quota does."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: read_status(pid)["State"].startswith("T"), "it to stop")


@pytest.mark.skipif(not kernel_can_reap(), reason="Linux is older than 6.15: --reap kernel falls back")
def test_entrypoint_lets_the_kernel_reap(lab: Lab, app_image: str) -> None:
    container = lab.start(*ctypes_of_host(), *entrypoint("--reap", "kernel"), app_image, "sh", "-c",
                          "echo ready; exec sleep infinity")
    lab.wait_for_line(container, "ready")
    init = lab.pid(container)
    stop_process(init)
    assert lab.podman("exec", container, *orphans(COUNT)).stdout == "adopted by 1\n"
    assert len(children_of(init)) == 1
    os.kill(init, signal.SIGCONT)
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert lab.exit_code(container) == 128 + signal.SIGTERM
    assert lab.logs(container) == "ready\n"


def test_entrypoint_reaps_by_the_loop_without_ctypes(lab: Lab, app_image: str) -> None:
    """python3-minimal has no _ctypes, and with it no signalfd(2): one line says so."""
    done = lab.podman("run", *entrypoint("--reap", "kernel"), app_image, "sh", "-c", "exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (7, "", 1)
    assert "reaping by the waitpid loop" in done.stderr


# As podman's --init


def test_init_path_takes_a_launcher(lab: Lab, init_path: list[str]) -> None:
    container = lab.start(*init_path, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    init = lab.pid(container)
    assert "-ISXutf8" in Path(f"/proc/{init}/cmdline").read_text()
    wait_for_children(init, 1)
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert lab.exit_code(container) == 128 + signal.SIGTERM


def test_init_path_keeps_the_exit_code(lab: Lab, init_path: list[str]) -> None:
    done = lab.podman("run", *init_path, "--read-only", "--user", "1234", "--cap-drop", "all", BASE,
                      "sh", "-c", "exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def test_init_path_takes_a_launcher_called_catatonit(lab: Lab, catatonit: tuple[str, list[str]]) -> None:
    """podman mounts it as /run/podman-init, which says nothing: the name that it was written under counts."""
    launcher, options = catatonit
    init = ["--init", "--init-path", launcher, *options]
    assert lab.podman("run", *init, BASE, "sh", "-c", "exit 7", check=False).returncode == 7
    done = lab.podman("run", *init, BASE, "no-such-command", check=False)
    assert done.returncode == 1
    assert re.search(r"ERROR \(catatonit:\d+\): cannot run '.*': No such file", done.stderr)
    container = lab.start(*init, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_children(lab.pid(container), 1)
    assert os.readlink(f"/proc/{lab.pid(container)}/cwd") == "/"
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE


def test_init_path_of_containers_conf(lab: Lab, catatonit: tuple[str, list[str]]) -> None:
    """`init_path`, containers.conf(5): `--init` alone does it."""
    launcher, options = catatonit
    done = lab.podman("run", "--init", *options, "--env", "CATATONIT_DEBUG=1", BASE, "sh", "-c", "exit 8", check=False,
                      settings=f'init_path = "{launcher}"')
    assert done.returncode == 8 and re.search(r"INFO \(catatonit:1\): started 'sh' with PID \d+", done.stderr)


# The pause image by itself


def image_config(lab: Lab, image: str) -> dict:
    """What podman knows of an image."""
    return json.loads(lab.podman("image", "inspect", image).stdout)[0]


def image_files(lab: Lab, image: str) -> dict[str, tarfile.TarInfo]:
    """Every file of an image, folders left out, by its path."""
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
    """Its layers as they are stored, tar headers and padding included; beside them is only its configuration."""
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


# The pause image as the infra container of a pod


def make_pod(lab: Lab, image: str, *options: str) -> tuple[str, int]:
    """A pod that shares its PID namespace; return its ID and the PID of its first process, as seen from here."""
    pod = lab.podman("pod", "create", "--share", "pid,ipc,net", "--infra-image", image, *options).stdout.strip()
    lab.podman("pod", "start", pod)
    return pod, pod_pid(lab, pod)


def pod_pid(lab: Lab, pod: str) -> int:
    """The PID of a pod's first process, as seen from here."""
    return lab.pid(infra_container(lab, pod))


def infra_container(lab: Lab, pod: str) -> str:
    """The ID of a pod's own container, which is the pause."""
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
    """An infra container that is podman's own way to have a pause: `/catatonit -P`."""
    dockerfile = lab.write("Dockerfile.catatonit", f"FROM {BASE}\nRUN --mount=from=pyinit,target=/tmp/pyinit "
                           "cd /tmp/pyinit && python3 -m pyinit.launcher /catatonit\n"
                           'ENTRYPOINT ["/catatonit", "-P"]\n')
    lab.build("catatonit", dockerfile, "--build-context", f"pyinit={ROOT}")
    pod, pause = make_pod(lab, "localhost/catatonit")
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
    """PYINIT_REAP in the pause image: it goes on while the pause does not run."""
    dockerfile = lab.write("Dockerfile.pause-kernel", f"FROM {pause_image}\nENV PYINIT_REAP=kernel\n")
    lab.build("pause-kernel", dockerfile)
    pod, pause = make_pod(lab, "localhost/pause-kernel")
    wait_for_mask(pause)
    wait_until(lambda: int(read_status(pause)["SigIgn"], 16) >> (signal.SIGCHLD - 1) & 1, "SIGCHLD to be ignored")
    stop_process(pause)
    container = lab.start("--pod", pod, BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_children(pause, 0)
    os.kill(pause, signal.SIGCONT)
    assert lab.seconds("pod", "stop", "--time", GRACE, pod) < GRACE


def test_pod_tells_what_it_reaps(lab: Lab, pause_image: str) -> None:
    """PYINIT_VERBOSITY in the pause image: a line for each orphan, in the log of the pod's own container."""
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


# The lean pause under its seccomp profile

PROFILE = ROOT / "deploy" / "seccomp" / "lean-pause.json"
SECCOMP = ["--security-opt", "no-new-privileges", "--security-opt", f"seccomp={PROFILE}"]
FILTERED = "2"  # proc(5), Seccomp: SECCOMP_MODE_FILTER


def filter_of(lab: Lab, container: str) -> tuple[str, set[str]]:
    """What a container's seccomp filter does with a system call that it does not name, and those that it names."""
    seccomp = json.loads(Path(lab.inspect(container)["OCIConfigPath"]).read_text())["linux"]["seccomp"]
    return seccomp["defaultAction"], {name for rule in seccomp["syscalls"] for name in rule["names"]}


def check_filter(lab: Lab, container: str) -> None:
    """The container runs under the profile and no other: podman's own one is a filter as well."""
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
    """Nothing else runs under it: not the Python pause, nor a shell's command."""
    for image in ([pause_image, "-v"], [BASE, "true"]):
        done = lab.podman("run", *SECCOMP, *image, check=False)
        assert done.returncode != 0 and not done.stdout
        assert lab.podman("run", *image).returncode == 0


@pytest.mark.parametrize("name", ["wait4", "rt_sigtimedwait"])
def test_seccomp_profile_without_a_call(lab: Lab, lean_image: str, name: str) -> None:
    """Each line of it counts: what is taken out fails, which only the one that it can do without survives."""
    profile = json.loads(PROFILE.read_text())
    profile["syscalls"][0]["names"].remove(name)
    path = lab.write("seccomp.json", json.dumps(profile))
    container = lab.start("--security-opt", "no-new-privileges", "--security-opt", f"seccomp={path}", lean_image)
    if name == "wait4":
        wait_until(lambda: waits_for_signals(lab.pid(container)), "the pause to wait")
        lab.podman("stop", container)
    assert lab.exit_code(container) == (0 if name == "wait4" else 1)


# A Kubernetes manifest


def play(lab: Lab, image: str) -> int:
    """Start the manifest's pod with an image as its pause; return the PID of its first process, as seen from here."""
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
