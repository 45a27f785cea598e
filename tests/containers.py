"""Real containers for the tests: a podman with a store, settings and base image of its own, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from support import children_of, is_blocked, process_ids, wait_until, zombies_of

# Where the base image's tarball is kept between runs: to make it takes 20 s and a mirror.
CACHE = Path(os.environ.get("PYINIT_TEST_CACHE") or Path.home() / ".cache" / "pyinit-tests")

SUITE = "bookworm"
BASE = "localhost/debian:bookworm-slim"
# The same with the whole of Python's library.
PYTHON_BASE = "localhost/debian-python3:bookworm-slim"

# Seconds. What is in the cache may be of a process in another PID namespace, whose PID is not to be seen here; but no
# test run takes so long.
STALE = 3600

# Each step may wait for a mirror, a disk or another test run.
TIMEOUT = 300

# What stands between podman and the OCI runtime: takes the limits out of the specification. The kernel raises a hard
# limit only for CAP_SYS_RESOURCE, setrlimit(2), which a machine that is itself a guest may lack, and `podman play kube`
# and `podman exec` ask for it whatever containers.conf says.
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

# containers.conf(5), containers-storage.conf(5). Locks in files: those in shared memory are the user's podman's, too.
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

# Leaves N orphans, which all exit in one instant; then says who has adopted them, which is PID 1. Each orphan's parent
# has been waited for before the orphans may go on, so none exits as anybody else's child.
ORPHANS = """\
import os, sys
may_exit, hold = os.pipe()
answers, answer = os.pipe()
for _ in range(int(sys.argv[1])):
    parent = os.fork()
    if parent == 0:
        if os.fork() == 0:
            os.close(hold)
            os.read(may_exit, 1)
            os.write(answer, b"%d\\n" % os.getppid())
        os._exit(0)
    os.waitpid(parent, 0)
os.close(hold)
os.close(answer)
with open(answers) as file:
    print("adopted by", *sorted(set(file.read().split())), flush=True)
"""


def orphans(count: int) -> list[str]:
    """A command that leaves orphans, and prints `adopted by 1`."""
    return ["python3", "-ISc", ORPHANS, str(count)]


def orphans_then_wait(count: int) -> list[str]:
    """The same, and then it stays; SIGTERM ends it unless it is PID 1."""
    return ["python3", "-ISc", ORPHANS + "import _signal; _signal.pause()", str(count)]


def reason_to_skip() -> str:
    """Why there can be no containers here; empty when there can be."""
    if os.geteuid() != 0:
        return "containers need root here"
    missing = [program for program in ("podman", "conmon", "mmdebstrap") if not shutil.which(program)]
    if not find_runtime():
        missing.append("runc")
    return f"not installed: {' '.join(missing)}" if missing else ""


def find_runtime() -> str | None:
    """The OCI runtime; its folder may be missing from PATH."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    return shutil.which("runc", path=path) or shutil.which("crun", path=path)


def make_base(python: str = "python3-minimal") -> Path:
    """The tarball of a Debian with a package of Python and little else, made once."""
    tarball = CACHE / f"{SUITE}-minbase-{python}.tar"
    if not tarball.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="base-", dir=CACHE) as folder:
            new = Path(folder) / "base.tar"
            run(["mmdebstrap", "--quiet", "--variant=minbase", f"--include={python}", *apt_options(), SUITE, new,
                 *apt_sources()], timeout=2 * TIMEOUT)
            new.rename(tarball)
    return tarball


def apt_options() -> list[str]:
    """The settings with which this machine reaches a mirror, apt.conf(5)."""
    keys = ("Acquire::http::Proxy", "Acquire::https::Proxy", "Acquire::Check-Valid-Until", "Acquire::Check-Date")
    settings = run(["apt-config", "dump", "--format", "%f %v%n", *keys]).stdout.splitlines()
    pairs = (setting.partition(" ") for setting in settings)
    return [f'--aptopt={key} "{value}"' for key, _, value in pairs if value]


def apt_sources() -> list[Path]:
    """The sources of this machine if it is of the same suite: they may be a mirror near by. Else mmdebstrap's own."""
    if f"VERSION_CODENAME={SUITE}" not in Path("/etc/os-release").read_text():
        return []
    files = (Path("/etc/apt/sources.list"), Path("/etc/apt/sources.list.d/debian.sources"))
    return [path for path in files if path.exists() and SUITE in path.read_text()]


def make_folder(kind: str) -> Path:
    """A folder in the cache, named KIND-PID-RANDOM by the process that is to remove it."""
    CACHE.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f"{kind}-{os.getpid()}-", dir=CACHE))


def is_left_over(path: Path, now: float) -> bool:
    """Whether something that make_folder() named, or that has such a name, is of a process that was killed: old, this
    user's, and its PID is gone. now: seconds since the epoch.
    """
    named = re.fullmatch(r"(?:\w+-)+(\d+)-\w+", path.name)
    try:
        found = path.lstat()
    except OSError:
        return False
    return bool(named) and found.st_uid == os.geteuid() and found.st_mtime < now - STALE \
        and not os.path.exists(f"/proc/{named[1]}")


def remove_left_over_labs() -> None:
    """Remove what a test run left that was killed by SIGKILL: containers, mounts and folders. What resists stays."""
    for folder in CACHE.glob("lab-*"):
        if is_left_over(folder, time.time()):
            try:
                Lab(folder).__exit__()
            except (AssertionError, OSError, subprocess.TimeoutExpired):
                continue


def storage_driver(folder: Path) -> str:
    """How layers are stored: overlayfs does not lie on overlayfs, mount(8), so in a container they are copied."""
    return "vfs" if run(["stat", "--file-system", "--format=%T", folder]).stdout.strip() == "overlayfs" else "overlay"


def run(argv: Sequence, check: bool = True, timeout: float = TIMEOUT, **popen) -> subprocess.CompletedProcess:
    """Run a program to its end; when it fails, say what it said."""
    done = subprocess.run(list(map(str, argv)), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=timeout, **popen)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(done.args)[:200]}: exit code {done.returncode}: {done.stderr[-2000:]}")
    return done


class Lab:
    """A podman whose store, settings and state are all in one folder, which is removed at the end of a `with`."""

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is that of a lab which was left over, so that it can be removed."""
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
        remove_left_over_labs()
        return self

    def __exit__(self, *_) -> None:
        self.remove_all()
        # What cleans up after a container outlives it for a moment.
        wait_until(lambda: not self.processes(), "the containers' monitors to end")
        for mount in reversed(self.mounts()):
            run(["umount", mount])
        shutil.rmtree(self.folder)

    def write(self, name: str, text: str) -> Path:
        """A file of the lab."""
        path = self.folder / name
        path.write_text(text)
        return path

    def podman(self, *arguments, check: bool = True, infra: str = "none",
               settings: str = "") -> subprocess.CompletedProcess:
        """Run podman; `infra` is the image from which `play kube` takes the pod's own container, `settings` are lines
        for the section [containers] of containers.conf(5).
        """
        conf = self.folder / f"containers-{infra}{'-more' if settings else ''}.conf"
        if settings or not conf.exists():
            text = CONTAINERS_CONF.format(folder=self.folder, infra=f"localhost/{infra}")
            conf.write_text(text.replace("[containers]\n", f"[containers]\n{settings}\n"))
        return run(["podman", "--log-level=error", *arguments], check,
                   env={**self.environment, "CONTAINERS_CONF": str(conf)})

    def import_base(self, tag: str = BASE, python: str = "python3-minimal") -> None:
        """A base image. A tarball has no settings, and containers need PATH: what Debian's own image has."""
        path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.podman("import", "--quiet", "--change", path, make_base(python), tag)

    def build(self, tag: str, dockerfile: Path, *options, context: Path | None = None) -> str:
        """Build an image, always anew, and return its ID. The context is an empty folder unless one is given."""
        identity = self.folder / "iid"
        self.podman("build", "--pull=never", "--no-cache", "--timestamp", "0", "--iidfile", identity, "--tag", tag,
                    "--file", dockerfile, *options, context or self.folder / "empty")
        return identity.read_text()

    def save(self, image: str) -> Path:
        """An image as an archive, written once."""
        archive = self.folder / "files" / f"{image.replace('/', '-').replace(':', '-')}.tar"
        if not archive.exists():
            self.podman("save", "--quiet", "--format", "oci-archive", "--output", archive, image)
        return archive

    def start(self, *arguments) -> str:
        """Start a container in the background and return its ID."""
        return self.podman("run", "--detach", *arguments).stdout.strip()

    def inspect(self, container: str) -> dict:
        """What podman knows of a container."""
        return json.loads(self.podman("container", "inspect", container).stdout)[0]

    def pid(self, container: str) -> int:
        """The PID of a container's first process, as seen from here."""
        return self.inspect(container)["State"]["Pid"]

    def exit_code(self, container: str) -> int:
        """Wait for the end of a container and return its exit code."""
        return int(self.podman("wait", container).stdout)

    def logs(self, container: str) -> str:
        """What a container has written, stdout and stderr."""
        done = self.podman("logs", container)
        return done.stdout + done.stderr

    def wait_for_line(self, container: str, line: str) -> None:
        """Wait until a container has written a line."""
        wait_until(lambda: line in self.logs(container).splitlines(), f"the line {line!r}")

    def seconds(self, *arguments) -> float:
        """How long a podman command takes."""
        start = time.monotonic()
        self.podman(*arguments)
        return time.monotonic() - start

    def remove_all(self) -> None:
        """Remove every pod and container of the lab."""
        self.podman("pod", "rm", "--all", "--force", "--time", "0")
        self.podman("rm", "--all", "--force", "--time", "0")

    def processes(self) -> list[int]:
        """Every process that names the lab's folder in its command line; a zombie has none."""
        return [pid for pid in process_ids() if os.fsencode(self.folder) in read_cmdline(pid)]

    def mounts(self) -> list[str]:
        """What is mounted below the lab's folder, outermost first, proc(5)."""
        targets = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        return [target for target in targets if target.startswith(f"{self.folder}/")]


def read_cmdline(pid: int) -> bytes:
    """The command line of a process; empty if it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_for_children(pid: int, count: int) -> None:
    """Wait until a process has so many children, zombies as well."""
    wait_until(lambda: len(children_of(pid)) == count, f"{pid} to have {count} children, not {len(children_of(pid))}")


def wait_for_zombies(pid: int, count: int) -> None:
    """Wait until a process has so many zombies: what shows that a test of the reaping can fail."""
    wait_until(lambda: len(zombies_of(pid)) == count, f"{pid} to have {count} zombies")


def wait_for_mask(pid: int) -> None:
    """Wait until the pause has set its mask: a signal that comes earlier is lost, pid_namespaces(7)."""
    wait_until(lambda: is_blocked(pid, signal.SIGHUP), "the pause to block signals")
