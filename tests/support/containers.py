"""Real containers for the tests: a podman with its own store, settings and base image, all removed at the end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict

from pyinit import __version__
from pyinit.linux.procfs import list_processes
from support.proc import children_of, is_blocked, read_cmdline, read_status, zombies_of
from support.processes import source
from support.settings import PYTHON, ROOT
from support.waiting import wait_until

# Keeps the base image's tarball between runs: making it takes 20 s and a mirror.
CACHE = Path(os.environ.get("PYINIT_TEST_CACHE") or Path.home() / ".cache" / "pyinit-tests")

SUITE = "bookworm"
BASE = "localhost/debian:bookworm-slim"
# BASE with the whole standard library of Python.
PYTHON_BASE = "localhost/debian-python3:bookworm-slim"

# Seconds. A folder in the cache may belong to a process in another PID namespace, whose PID cannot be seen here. No
# test run takes this long, so an older folder belongs to a run that was killed.
STALE = 3600

# Each step may wait for a mirror, a disk or another test run.
TIMEOUT = 300

# A wrapper around the OCI runtime that removes the limits from the specification. The kernel raises a hard limit only
# with CAP_SYS_RESOURCE, setrlimit(2), which a machine that is itself a guest may lack. `podman play kube` and `podman
# exec` raise hard limits even if containers.conf does not.
RUNTIME = """\
#!/usr/bin/env python3
import json, os, sys

def drop_limits(path, *keys):
    with open(path) as file:
        whole = process = json.load(file)
    for key in keys:
        process = process[key]
    process.pop("rlimits", None)
    with open(path, "w") as file:
        json.dump(whole, file)

for option, value in zip(sys.argv, sys.argv[1:]):
    if option == "--bundle":
        drop_limits(value + "/config.json", "process")
    elif option == "--process":
        drop_limits(value)
os.execv({runtime!r}, [{runtime!r}, *sys.argv[1:]])
"""

# containers.conf(5), containers-storage.conf(5). Locks are in files, as those in shared memory are shared with the
# user's own podman.
CONTAINERS_CONF = """\
[containers]
netns = "none"
log_driver = "k8s-file"
[network]
network_config_dir = "{folder}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{folder}/engine"
volume_path = "{folder}/volumes"
infra_image = "{infra}"
[engine.runtimes]
runc = ["{folder}/runtime"]
"""

STORAGE_CONF = """\
[storage]
driver = "{driver}"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""

ORPHANS = source("orphans_in_one_instant")


def orphans(count: int) -> list[str]:
    """Return a command that leaves orphans and prints `adopted by 1`."""
    return ["python3", "-ISc", ORPHANS, str(count)]


def orphans_then_wait(count: int) -> list[str]:
    """Return a command as of orphans() that then waits for a signal; SIGTERM ends it unless it is PID 1."""
    return ["python3", "-ISc", ORPHANS + "import _signal; _signal.pause()", str(count)]


def reason_to_skip() -> str:
    """Return why containers cannot run here, or "" if they can."""
    if os.geteuid() != 0:
        return "containers need root here"
    missing = [program for program in ("podman", "conmon", "mmdebstrap") if not shutil.which(program)]
    if not find_runtime():
        missing.append("runc")
    return f"not installed: {' '.join(missing)}" if missing else ""


def find_runtime() -> str | None:
    """Return the path of the OCI runtime, or None; its folder may be missing from PATH."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which("runc", path=path) or shutil.which("crun", path=path)


def make_base(python: str = "python3-minimal") -> Path:
    """Return a tarball of a minimal Debian with one more package, Python's by default; made once."""
    def make(new: Path) -> None:
        run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={python}", *apt_options(), SUITE, new,
             *apt_sources()], timeout=2 * TIMEOUT)

    return make_once(CACHE / f"{SUITE}-minbase-{python}.tar", make)


def make_once(path: Path, make: Callable[[Path], None]) -> Path:
    """Return the path of a file in the cache. If it is missing, `make` writes a file of that name in a new folder."""
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="make-", dir=CACHE) as folder:
            new = Path(folder) / path.name
            make(new)
            new.rename(path)
    return path


def apt_options() -> list[str]:
    """Return mmdebstrap's options for the settings with which this machine reaches a mirror, apt.conf(5)."""
    keys = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
    settings = run(["apt-config", "dump", "--format", "%f %v%n", *keys]).stdout.splitlines()
    pairs = (setting.partition(" ") for setting in settings)
    return [f'--aptopt={key} "{value}"' for key, _, value in pairs if value]


def apt_sources() -> list[Path]:
    """Return this machine's files of sources if it has the same suite: they may name a nearby mirror. Otherwise return
    nothing, and mmdebstrap uses its own.
    """
    if f"VERSION_CODENAME={SUITE}" not in Path("/etc/os-release").read_text():
        return []
    files = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
    return [path for path in files if path.exists() and SUITE in path.read_text()]


def make_folder(kind: str) -> Path:
    """Make a folder in the cache, named KIND-PID-RANDOM; the process with that PID has to remove it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{kind}-{os.getpid()}-", dir=CACHE))


def is_left_over(path: Path, now: float) -> bool:
    """Say whether a path with a name as of make_folder() was left by a process that was killed: it is older than STALE,
    belongs to this user, and no process has its PID. now: seconds since the epoch.
    """
    named = re.fullmatch(r"(?:\w+-)+(\d+)-\w+", path.name)
    try:
        found = path.lstat()
    except OSError:
        return False
    return named is not None and found.st_uid == os.geteuid() and found.st_mtime < now - STALE \
        and not os.path.exists(f"/proc/{named[1]}")


def remove_left_over_labs() -> None:
    """Remove containers, mounts and folders of test runs that SIGKILL ended. Pass over those that cannot be removed."""
    for folder in CACHE.glob("lab-*"):
        if is_left_over(folder, time.time()):
            try:
                Lab(folder).__exit__()
            except (AssertionError, OSError, subprocess.TimeoutExpired):
                continue


def storage_driver(folder: Path) -> str:
    """Return the storage driver: overlayfs cannot lie on overlayfs, mount(8), so in a container layers are copied."""
    return "vfs" if run(["stat", "--file-system", "--format=%T", folder]).stdout.strip() == "overlayfs" else "overlay"


def run(argv: Sequence[object], check: bool = True, timeout: float = TIMEOUT, cwd: Path | None = None,
        env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with each argument converted by str().

    With `check`, raises AssertionError with the program's stderr if it fails.
    """
    done = subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=timeout, cwd=cwd, env=env)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(done.args)[:200]}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return done


class ContainerState(TypedDict):
    """A container's first process in `podman container inspect`."""

    Pid: int


class ContainerInfo(TypedDict):
    """The fields of `podman container inspect` that tests read, podman-container-inspect(1)."""

    State: ContainerState
    OCIConfigPath: str


class Lab:
    """A podman whose store, settings and state are all in one folder, which is removed at the end of a `with`."""

    def __init__(self, folder: Path | None = None) -> None:
        """Make a lab in a new folder. folder: that of a left-over lab, which is to be removed."""
        self.folder = folder or make_folder("lab")
        for name in ("networks", "tmp", "files", "empty"):
            (self.folder / name).mkdir(exist_ok=True)
        runtime = self.write("runtime", RUNTIME.format(runtime=find_runtime()))
        runtime.chmod(0o755)
        driver = storage_driver(self.folder)
        storage = self.write("storage.conf", STORAGE_CONF.format(folder=self.folder, driver=driver))
        registries = self.write("registries.conf", "")
        self.environment = {**os.environ, "TMPDIR": str(self.folder / "tmp"), "CONTAINERS_STORAGE_CONF": str(storage),
                            "CONTAINERS_REGISTRIES_CONF": str(registries), "BUILDAH_ISOLATION": "chroot"}

    def __enter__(self) -> Lab:
        """Make the folder a shared mount, as systemd makes the root directory. For a container with a user namespace
        podman's conmon cleans up in a mount namespace of its own: without propagation, mount_namespaces(7), what it
        unmounts stays mounted here, and `podman rm` sometimes fails with EBUSY.
        """
        remove_left_over_labs()
        run(["mount", "--bind", self.folder, self.folder])
        run(["mount", "--make-shared", self.folder])
        return self

    def __exit__(self, *_: object) -> None:
        self.remove_all()
        # conmon cleans up after a container and outlives it for a moment.
        wait_until(lambda: not self.processes(), "the containers' monitors to end")
        wait_until(self.unmount, "the lab's mounts to be free")
        shutil.rmtree(self.folder)

    def unmount(self) -> bool:
        """Unmount all of the lab's mounts; return False if one is left. A process that is ending keeps a mount busy
        when it no longer has a command line.
        """
        for mount in reversed(self.mounts()):
            run(["umount", mount], check=False)
        return not self.mounts()

    def write(self, name: str, text: str) -> Path:
        """Write a file in the lab's folder and return its path."""
        path = self.folder / name
        path.write_text(text)
        return path

    def podman(self, *arguments: object, check: bool = True, infra: str = "none",
               settings: str = "") -> subprocess.CompletedProcess[str]:
        """Run podman.

        infra: the image from which `play kube` makes the pod's own container. settings: lines for the section
        [containers] of containers.conf(5).
        """
        conf = self.folder / f"containers-{infra}{'-more' if settings else ''}.conf"
        if settings or not conf.exists():
            text = CONTAINERS_CONF.format(folder=self.folder, infra=f"localhost/{infra}")
            conf.write_text(text.replace("[containers]\n", f"[containers]\n{settings}\n"))
        return run(["podman", "--log-level=error", *arguments], check,
                   env={**self.environment, "CONTAINERS_CONF": str(conf)})

    def import_base(self, tag: str = BASE, python: str = "python3-minimal") -> None:
        """Import a base image. A tarball has no settings, and containers need PATH; Debian's own image has this one."""
        path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.podman("import", "--quiet", "--change", path, make_base(python), tag)

    def load_lean(self, program: str) -> str:
        """Make the image of a lean program and load it, by the commands of docs/lean.md; return its name."""
        archive = self.folder / "files" / f"lean-{program}.tar"
        run([PYTHON, "-m", "pyinit.lean", "image", archive, "--program", program], cwd=ROOT)
        self.podman("load", "--quiet", "--input", archive)
        return f"localhost/lean-{program}:{__version__}"

    def build(self, tag: str, dockerfile: Path, *options: object, context: Path | None = None) -> str:
        """Build an image without a cache and return its ID. The context is an empty folder by default."""
        identity = self.folder / "iid"
        self.podman("build", "--pull=never", "--no-cache", "--timestamp", "0", "--iidfile", identity, "--tag", tag,
                    "--file", dockerfile, *options, context or self.folder / "empty")
        return identity.read_text()

    def save(self, image: str) -> Path:
        """Return the path of an image's archive, which is written once."""
        archive = self.folder / "files" / f"{image.replace('/', '-').replace(':', '-')}.tar"
        if not archive.exists():
            self.podman("save", "--quiet", "--format", "oci-archive", "--output", archive, image)
        return archive

    def start(self, *arguments: object) -> str:
        """Start a container in the background and return its ID."""
        return self.podman("run", "--detach", *arguments).stdout.strip()

    def inspect(self, container: str) -> ContainerInfo:
        """Return podman's description of a container."""
        info: ContainerInfo = json.loads(self.podman("container", "inspect", container).stdout)[0]
        return info

    def pid(self, container: str) -> int:
        """Return the PID of a container's first process on this machine, once it has executed its program."""
        return wait_for_program(self.inspect(container)["State"]["Pid"])

    def exit_code(self, container: str) -> int:
        """Wait for the end of a container and return its exit code."""
        return int(self.podman("wait", container).stdout)

    def logs(self, container: str) -> str:
        """Return what a container has written to stdout, then to stderr."""
        done = self.podman("logs", container)
        return done.stdout + done.stderr

    def wait_for_line(self, container: str, line: str) -> None:
        """Wait until a container has written a line."""
        wait_until(lambda: line in self.logs(container).splitlines(), f"the line {line!r}")

    def seconds(self, *arguments: object) -> float:
        """Run a podman command and return how many seconds it took."""
        start = time.monotonic()
        self.podman(*arguments)
        return time.monotonic() - start

    def remove_all(self) -> None:
        """Remove every pod and container of the lab. podman 4.3 fails if a container ends while it is being removed,
        and succeeds when it is called again.
        """
        for kind in (["pod"], []):
            remove = [*kind, "rm", "--all", "--force", "--time", "0"]
            try:
                wait_until(lambda: self.podman(*remove, check=False).returncode == 0, "podman to remove all")
            except AssertionError:
                self.podman(*remove)  # says why it fails

    def processes(self) -> list[int]:
        """Return every process that names the lab's folder in its command line. Zombies have no command line."""
        return [pid for pid in list_processes() if os.fsencode(self.folder) in read_cmdline(pid)]

    def mounts(self) -> list[str]:
        """Return the lab's mount points, outermost first, proc(5)."""
        targets = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return [target for target in targets if f"{target}/".startswith(f"{self.folder}/")]


def wait_for_program(pid: int) -> int:
    """Wait until a container's first process has executed the container's program, for which the runtime does not wait;
    return its PID. Until then its name, rights and mask are not those of the program.
    """
    wait_until(lambda: not read_status(pid).get("Name", "").startswith("runc:["), f"{pid} to execute its program")
    return pid


def wait_for_children(pid: int, count: int) -> None:
    """Wait until a process has `count` children, zombies included."""
    wait_until(lambda: len(children_of(pid)) == count, f"{pid} to have {count} children, not {len(children_of(pid))}")


def wait_for_zombies(pid: int, count: int) -> None:
    """Wait until a process has `count` zombies, which shows that a test of the reaping can fail."""
    wait_until(lambda: len(zombies_of(pid)) == count, f"{pid} to have {count} zombies")


def wait_for_mask(pid: int) -> None:
    """Wait until the pause has set its mask: a signal sent earlier is lost, pid_namespaces(7)."""
    wait_until(lambda: is_blocked(pid, signal.SIGHUP), "the pause to block signals")
