"""pyinit works in real containers: as ENTRYPOINT, and as podman's --init."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from support.container_orphans import COUNT, GRACE, SHORT_GRACE, leave_orphan_by_exec
from support.containers import BASE, Lab, orphans, orphans_then_wait, wait_for_children, wait_for_zombies
from support.machine import kernel_can_reap
from support.proc import stop
from support.settings import ROOT

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image


@pytest.fixture(scope="session")
def app_image(session_lab: Lab) -> str:
    """Build an application image by the README's first dockerfile. The base image gets the name that it uses."""
    block = re.search(r"^```dockerfile\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block, "README.md has no block that begins with ```dockerfile"
    session_lab.podman("tag", BASE, "localhost/python:3-slim")
    dockerfile = session_lab.write("Dockerfile.entrypoint", block[1])
    session_lab.build("app", dockerfile, "--build-context", f"pyinit={ROOT}")
    return "localhost/app"


@pytest.fixture(scope="session")
def init_path(session_lab: Lab) -> list[str]:
    """Return podman's options for a launcher on the host, installed as /usr/local/bin/pyinit.

    podman mounts the launcher under another name; its .pyc must be at the path for which it was installed. The base
    image installs the launcher, as the container's interpreter must also compile it.
    """
    launcher, options = install_on_host(session_lab, "pyinit")
    return ["--init", "--init-path", launcher, *options]


@pytest.fixture(scope="session")
def catatonit(session_lab: Lab) -> tuple[str, list[str]]:
    """Install a launcher on the host that is called catatonit, like podman's own init; return its path, and podman's
    options that mount its .pyc.
    """
    return install_on_host(session_lab, "catatonit")


def install_on_host(lab: Lab, name: str) -> tuple[str, list[str]]:
    """Install a launcher for the base image's interpreter; return its path, and podman's options to mount its .pyc."""
    folder = lab.folder / "files"
    lab.podman("run", "--rm", "--volume", f"{ROOT}:/src:ro", "--volume", f"{folder}:/usr/local/bin",
               "--workdir", "/src", BASE, "python3", "-m", "pyinit.launcher", f"/usr/local/bin/{name}")
    return f"{folder}/{name}", ["--volume", f"{folder}/{name}.pyc:/usr/local/bin/{name}.pyc:ro"]


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
    """python3-minimal has no ctypes, so pyinit cannot call prctl(2): it warns, with any options, and continues."""
    container = lab.start(app_image, "sleep", "infinity")
    for options in ([], ["-s"], ["-p", "TERM"]):
        done = lab.podman("exec", container, "/sbin/pyinit", *options, "sh", "-c", "exit 7", check=False)
        assert done.returncode == 7
        assert "warning" in done.stderr and "unexpected" not in done.stderr


def entrypoint(*options: str) -> list[str]:
    """Return podman's options that set the ENTRYPOINT to pyinit with these options."""
    return ["--entrypoint", json.dumps(["/sbin/pyinit", *options, "--"])]


# Starts a daemon that says at SIGTERM that it ends; the main child does not wait for it.
LEAVE_DAEMON = """
trap 'exit 3' TERM
setsid sh -c 'trap "echo daemon ended; exit 0" TERM; echo ready; while :; do sleep 0.05; done' &
while :; do sleep 0.05; done
"""


def test_entrypoint_gives_grace(lab: Lab, app_image: str) -> None:
    container = lab.start(*entrypoint("--grace", str(2 * GRACE)), app_image, "sh", "-c", LEAVE_DAEMON)
    lab.wait_for_line(container, "ready")
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE  # pyinit ends with the last process
    assert lab.exit_code(container) == 3
    assert "daemon ended" in lab.logs(container).splitlines()


def test_entrypoint_without_grace_ends_all_at_once(lab: Lab, app_image: str) -> None:
    container = lab.start(app_image, "sh", "-c", LEAVE_DAEMON)
    lab.wait_for_line(container, "ready")
    lab.podman("stop", container)
    assert lab.exit_code(container) == 3
    assert "daemon ended" not in lab.logs(container).splitlines()


def ctypes_of_host() -> list[str]:
    """Return podman's options that add this machine's _ctypes to python3-minimal; skip the test if that cannot work."""
    if "VERSION_CODENAME=bookworm" not in Path("/etc/os-release").read_text():
        pytest.skip("the _ctypes of this machine is not for the container's Python")
    files = [*Path("/usr/lib").glob("python3.11/lib-dynload/_ctypes.*.so"), *Path("/usr/lib").glob("*/libffi.so.8")]
    if len(files) != 2:
        pytest.skip("this machine's python3 has no _ctypes")
    return [option for file in files for option in ("--volume", f"{file.resolve()}:{file}:ro")]


@pytest.mark.skipif(not kernel_can_reap(), reason="Linux is older than 6.15: --reap kernel falls back")
def test_entrypoint_lets_the_kernel_reap(lab: Lab, app_image: str) -> None:
    container = lab.start(*ctypes_of_host(), *entrypoint("--reap", "kernel"), app_image, "sh", "-c",
                          "echo ready; exec sleep infinity")
    lab.wait_for_line(container, "ready")
    init = lab.pid(container)
    stop(init)
    assert lab.podman("exec", container, *orphans(COUNT)).stdout == "adopted by 1\n"
    wait_for_children(init, 1)
    os.kill(init, signal.SIGCONT)
    assert lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert lab.exit_code(container) == 128 + signal.SIGTERM
    assert lab.logs(container) == "ready\n"


def test_entrypoint_reaps_by_the_loop_without_ctypes(lab: Lab, app_image: str) -> None:
    """python3-minimal has no _ctypes, so pyinit cannot call signalfd(2): it warns in one line and reaps by the loop."""
    done = lab.podman("run", *entrypoint("--reap", "kernel"), app_image, "sh", "-c", "exit 7", check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (7, "", 1)
    assert "reaping by the waitpid loop" in done.stderr


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
    """podman mounts it as /run/podman-init, a name that is no personality's: its name at the installation counts."""
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
    """With `init_path` in containers.conf(5), `--init` alone runs the launcher."""
    launcher, options = catatonit
    done = lab.podman("run", "--init", *options, "--env", "CATATONIT_DEBUG=1", BASE, "sh", "-c", "exit 8", check=False,
                      settings=f'init_path = "{launcher}"')
    assert done.returncode == 8 and re.search(r"INFO \(catatonit:1\): started 'sh' with PID \d+", done.stderr)
