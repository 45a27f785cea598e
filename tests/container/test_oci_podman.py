"""Under podman the OCI runtime gives an init to containers whose image and manifest have none, and changes no more."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest

from pyinit.oci.decide import TARGET
from support.containers import BASE, Lab, orphans, orphans_then_wait, run, wait_for_children, wait_for_zombies
from support.oci import install_runtime, unpack
from support.proc import children_of, read_status
from support.waiting import wait_until

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]  # the first test makes the base image

COUNT = 20
GRACE = 60

WHO = ["cat", "/proc/1/comm"]
NO_INIT = "cat\n"

# The fields of /proc/PID/status that do not depend on the image: a process's rights, and its signal state.
STATUS = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
          "Seccomp_filters", "Speculation_Store_Bypass", "SigBlk", "SigIgn", "SigCgt", "SigPnd", "Umask")

POD = {
    "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "shop"},
    "spec": {"restartPolicy": "Never", "containers": [
        {"name": name, "image": BASE, "imagePullPolicy": "Never", "command": ["sleep", "infinity"]}
        for name in ("web", "helper")]},
}


class Engine:
    """podman with pyinit's OCI runtime in front of another one."""

    def __init__(self, lab: Lab, runtime: Path) -> None:
        self.lab = lab
        self.runtime = runtime

    def podman(self, *arguments, **more):
        """Run podman with the runtime."""
        return self.lab.podman("--runtime", self.runtime, *arguments, **more)

    def run(self, *arguments, **more) -> str:
        """Run a container to its end, and return its output."""
        return self.podman("run", "--rm", *arguments, **more).stdout

    def start(self, *arguments) -> str:
        """Start a container in the background and return its ID."""
        return self.podman("run", "--detach", *arguments).stdout.strip()


@pytest.fixture(scope="module")
def runtime(session_lab: Lab, install_folder: Path) -> Path:
    """Install the runtime in front of the lab's own; return its path."""
    return install_runtime(install_folder / "pyinit-runtime", "--runtime", session_lab.folder / "runtime")


@pytest.fixture
def engine(lab: Lab, runtime: Path) -> Engine:
    return Engine(lab, runtime)


def test_init_is_the_first_process(engine: Engine) -> None:
    assert engine.run(BASE, *WHO) == "pyinit\n"
    seen = engine.run(BASE, "cat", "/proc/1/cmdline", "/proc/self/mountinfo")
    cmdline, _, mounts = seen.rpartition("\0")
    assert cmdline == "\0".join([TARGET, "--", "cat", "/proc/1/cmdline", "/proc/self/mountinfo"])
    (mount,) = [line.split() for line in mounts.splitlines() if f" {TARGET} " in line]
    assert {"ro", "nosuid", "nodev"} <= set(mount[5].split(","))
    assert mount[3].endswith(f"/{engine.runtime.name}.init")


def test_without_the_runtime_there_is_none(lab: Lab) -> None:
    assert lab.podman("run", "--rm", BASE, *WHO).stdout == NO_INIT


@pytest.mark.parametrize("options", [[], ["--user", "1234", "--read-only", "--read-only-tmpfs=false", "--cap-drop",
                                          "all", "--security-opt", "no-new-privileges"],
                                     ["--privileged"], ["--uidmap", "0:100000:65536"]], ids=" ".join)
def test_orphans_and_stop(engine: Engine, options: list[str]) -> None:
    """Orphans are reaped, also those of `podman exec`. SIGTERM ends a program that does not handle it, in time."""
    container = engine.start(*options, BASE, *orphans_then_wait(COUNT))
    engine.lab.wait_for_line(container, "adopted by 1")
    init = engine.lab.pid(container)
    wait_for_children(init, 1)
    assert engine.podman("exec", container, *orphans(COUNT)).stdout == "adopted by 1\n"
    wait_for_children(init, 1)
    assert engine.lab.seconds("stop", "--time", GRACE, container) < GRACE
    assert engine.lab.exit_code(container) == 128 + signal.SIGTERM
    assert engine.lab.logs(container) == "adopted by 1\n"


def test_without_an_init_orphans_stay_zombies(lab: Lab) -> None:
    """The test above can fail."""
    container = lab.start(BASE, *orphans_then_wait(COUNT))
    lab.wait_for_line(container, "adopted by 1")
    wait_for_zombies(lab.pid(container), COUNT)


@pytest.mark.parametrize("script, code", [("exit 42", 42), ("kill -KILL $$", 137), ("exit 0", 0)])
def test_exit_codes(engine: Engine, script: str, code: int) -> None:
    done = engine.podman("run", "--rm", BASE, "sh", "-c", f"echo out; echo error >&2; {script}", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (code, "out\n", "error\n")


def test_command_that_is_not_there(engine: Engine) -> None:
    """The container ends with exit code 127. The real runtime alone would refuse to create it."""
    done = engine.podman("run", "--rm", BASE, "no-such-command", check=False)
    assert (done.returncode, done.stderr) == (127, "pyinit: cannot run 'no-such-command': No such file or directory\n")


def test_terminal(engine: Engine) -> None:
    """The program has the terminal and is in its foreground, and a shell's job control works."""
    script = 'set -m; sleep 0 & wait; test -t 0 && test -t 1 && ps -o stat= -p $$ 2>/dev/null || ' \
             'read pid comm state ppid group session tty foreground rest </proc/$$/stat; ' \
             'test "$group" = "$foreground" && echo foreground of $(tty)'
    assert engine.run("--tty", BASE, "sh", "-c", script).strip() == "foreground of /dev/pts/0"


def test_stdin(engine: Engine) -> None:
    assert engine.run("--interactive", BASE, "sh", "-c", "cat; echo end") == "end\n"


def test_restart(engine: Engine) -> None:
    """At a restart podman writes a new config.json; the container has one init again, and not two."""
    container = engine.start(BASE, "sleep", "infinity")
    first = engine.lab.pid(container)
    engine.podman("restart", "--time", "0", container)
    second = engine.lab.pid(container)
    assert second != first and read_status(second)["Name"] == "pyinit"
    wait_until(lambda: [read_status(child).get("Name") for child in children_of(second)] == ["sleep"], "its program")


def test_image_does_not_change(engine: Engine) -> None:
    """The target of the mount is in no layer."""
    container = engine.start("--name", "plain", BASE, "true")
    engine.lab.exit_code(container)
    changes = json.loads(engine.podman("diff", "--format", "json", container).stdout)
    assert not [path for paths in changes.values() for path in paths if "pyinit" in path]


# What an attacker gains: nothing


@pytest.mark.parametrize("options", [
    [], ["--privileged"], ["--user", "1234:4321"], ["--cap-add", "SYS_ADMIN", "--user", "1234"],
    ["--cap-drop", "all", "--security-opt", "no-new-privileges"], ["--security-opt", "seccomp=unconfined"],
    ["--group-add", "77", "--umask", "027"], ["--uidmap", "0:100000:65536"]], ids=" ".join)
def test_program_is_allowed_the_same(engine: Engine, options: list[str]) -> None:
    """User, capabilities, no_new_privs, seccomp and signals are the same with and without the init."""
    seen = []
    for podman in (engine.podman, engine.lab.podman):
        lines = podman("run", "--rm", *options, BASE, "cat", "/proc/self/status").stdout.splitlines()
        seen.append({name: value for name, _, value in (line.partition(":") for line in lines) if name in STATUS})
    assert seen[0] == seen[1] and len(seen[0]) >= 15


def test_environment_and_folder_are_the_same(engine: Engine) -> None:
    command = ["run", "--rm", "--env", "A=b c", "--workdir", "/usr", "--hostname", "box", BASE, "sh", "-c",
               "cat /proc/self/environ; pwd; ulimit -a; ls -l /proc/self/fd | wc -l"]
    assert engine.podman(*command).stdout == engine.lab.podman(*command).stdout


@pytest.mark.parametrize("trap", ["link", "folder"])
def test_image_that_has_something_there(engine: Engine, tmp_path: Path, trap: str) -> None:
    """The container's /dev is a new tmpfs, which hides a file or link of the image at the mount's path."""
    root = unpack(tmp_path / "rootfs")
    if trap == "link":
        (root / "dev" / "pyinit").symlink_to("/etc/passwd")
    else:
        (root / "dev" / "pyinit").mkdir()
    before = (root / "etc" / "passwd").read_bytes()
    assert engine.run("--rootfs", root, "sh", "-c", "cat /proc/1/comm; cmp /proc/1/exe /dev/pyinit && echo same") == \
        "pyinit\nsame\n"
    assert (root / "etc" / "passwd").read_bytes() == before


# Containers without an init


@pytest.mark.parametrize("options, first", [
    (["--init"], "podman-init\n"),
    (["--annotation", "pyinit.init/inject=false"], NO_INIT),
    (["--volume", "/dev:/dev"], NO_INIT),
], ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_left_alone(engine: Engine, options: list[str], first: str) -> None:
    assert engine.run(*options, BASE, *WHO) == first


def test_shared_pid_namespaces(engine: Engine) -> None:
    """In the PID namespace of the host or another container the program is not the first process, and gets no init."""
    command = ["cat", "/proc/self/cmdline"]
    other = engine.start(BASE, "sleep", "infinity")
    init = engine.lab.pid(other)
    wait_for_children(init, 1)
    joined = engine.start("--pid", f"container:{other}", BASE, "sleep", "infinity")
    assert read_status(engine.lab.pid(joined))["Name"] == "sleep"
    engine.podman("rm", "--force", "--time", "0", joined)  # before the container whose namespace it shares
    assert engine.run("--pid", "host", BASE, *command) == "\0".join([*command, ""])


def test_program_that_is_an_init_already(engine: Engine, tmp_path: Path) -> None:
    """An init in the image is recognised by its real path, behind a link with another name."""
    root = unpack(tmp_path / "rootfs")
    shutil.copy(root / "usr" / "bin" / "sleep", root / "usr" / "bin" / "tini")
    (root / "entry").symlink_to("/usr/bin/tini")
    container = engine.start("--rootfs", root, "/entry", "infinity")
    assert read_status(engine.lab.pid(container))["Name"] == "entry"
    engine.podman("rm", "--force", "--time", "0", container)  # before its files are removed


def test_only_annotated(lab: Lab, install_folder: Path) -> None:
    engine = Engine(lab, install_runtime(install_folder / "pyinit-annotated", "--only-annotated",
                                         "--runtime", lab.folder / "runtime"))
    assert engine.run(BASE, *WHO) == NO_INIT
    assert engine.run("--annotation", "pyinit.init/inject=true", BASE, *WHO) == "pyinit\n"


def test_pod(engine: Engine, lean_image: str) -> None:
    """With `play kube` each container has its own init. The pod's own container, which podman does not mark, gets none
    because of the name of its program.
    """
    manifest = engine.lab.write("kubernetes.yaml", json.dumps(POD))
    engine.podman("play", "kube", "--network", "none", manifest, infra="lean")
    for name in ("shop-web", "shop-helper"):
        init = engine.lab.pid(name)
        wait_for_children(init, 1)
        assert read_status(init)["Name"] == "pyinit"
        assert engine.podman("exec", name, *orphans(COUNT)).stdout == "adopted by 1\n"
        wait_for_children(init, 1)
    infra = engine.lab.pid(json.loads(engine.podman("pod", "inspect", "shop").stdout)["InfraContainerID"])
    assert read_status(infra)["Name"] == "pause"


def test_for_all_containers(lab: Lab, runtime: Path) -> None:
    """The runtime works as a host's default in containers.conf(5), without an option on the command line."""
    lab.podman("version")
    conf = lab.write("default.conf", (lab.folder / "containers-none.conf").read_text().replace(
        'runtime = "runc"\n', 'runtime = "init"\n') + f'init = ["{runtime}"]\n')
    done = run(["podman", "--log-level=error", "run", "--rm", BASE, *WHO],
               env={**lab.environment, "CONTAINERS_CONF": str(conf)})
    assert done.stdout == "pyinit\n"
