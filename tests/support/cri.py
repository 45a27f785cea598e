"""A containerd of the tests' own, and the kubelet's calls to it: the Container Runtime Interface by curl."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from pyinit.linux.procfs import list_processes
from support.containers import CACHE, TIMEOUT, Lab, find_runtime, is_left_over, make_folder, run, storage_driver
from support.cri_messages import Message, decode, encode
from support.proc import children_of, read_stat, read_status
from support.settings import ROOT
from support.waiting import wait_until

# The grpc-status of a call that took too long.
DEADLINE_EXCEEDED = "4"

# Lowering oom_score_adj needs CAP_SYS_RESOURCE, proc(5), which a machine that is itself a guest may lack. The other
# settings keep everything in one folder.
CONFIG = """\
version = 2
root = "{folder}/root"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.aufs",
                    "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper"]
[grpc]
address = "{folder}/socket"
[plugins."io.containerd.internal.v1.opt"]
path = "{folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
restrict_oom_score_adj = true
sandbox_image = "{sandbox_image}"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{folder}/no-cni"
conf_dir = "{folder}/no-cni"
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{snapshotter}"
default_runtime_name = "{default}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runtime}"
"""


class RpcError(Exception):
    """A call that the runtime refused, with gRPC's status, a number, and its message."""

    def __init__(self, method: str, status: str, message: str) -> None:
        super().__init__(f"{method}: grpc-status {status!r}: {message}")
        self.status = status


class Answer(NamedTuple):
    """An HTTP response: its headers and trailers in one dictionary, and its body."""

    headers: dict[str, str]
    body: bytes


def unframe(method: str, answer: Answer) -> bytes:
    """Return the message of a gRPC response, which follows 5 bytes: whether it is compressed, and its length.

    Raises RpcError if the runtime refused the call.
    """
    status = answer.headers.get("grpc-status", "")
    if status != "0":
        raise RpcError(method, status, answer.headers.get("grpc-message", ""))
    compressed, length = struct.unpack(">BI", answer.body[:5])
    assert not compressed and len(answer.body) == 5 + length, answer
    return answer.body[5:]


def reason_to_skip() -> str:
    """Return why containerd cannot run here, or "" if it can."""
    missing = [program for program in ("containerd", "ctr", "containerd-shim-runc-v2", "curl", "unshare")
               if not shutil.which(program)]
    return f"not installed: {' '.join(missing)}" if missing else ""


def find_cgroups(pattern: str) -> list[Path]:
    """Return the cgroups with a name like a pattern of fnmatch, in every hierarchy.

    os.walk() passes over cgroups that are removed meanwhile, as those of other test runs; Path.glob() would fail.
    """
    return [Path(folder) for folder, _, _ in os.walk("/sys/fs/cgroup")
            if fnmatchcase(os.path.basename(folder), pattern)]


def remove_cgroups(name: str) -> bool:
    """Remove the cgroups with a name and all below them, innermost first.

    Return False if a cgroup still has a process or gets another cgroup, since the kernel removes only empty ones,
    cgroups(7).
    """
    for top in find_cgroups(name):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except FileNotFoundError:
                pass  # another process removes them at the same time
            except OSError:
                return False
    return True


def remove_left_overs() -> None:
    """Remove the folders and cgroups of a test run that SIGKILL ended; its processes have ended with it."""
    for folder in CACHE.glob("cri-*"):
        if is_left_over(folder, time.time()):
            shutil.rmtree(folder, ignore_errors=True)
    names = {path.name for path in find_cgroups("pyinit-cri-*") if is_left_over(path, time.time())}
    for name in names:
        remove_cgroups(name)


class Containerd:
    """A containerd in its own PID and mount namespaces, as on a node that is itself a container.

    When the namespace's PID 1 is killed, the kernel ends containerd, its shims and every container, and drops their
    mounts with the last process. The end of a `with` also removes the folder and the cgroups.
    """

    def __init__(self, lab: Lab, pause: str, *images: str, handlers: str = "", default: str = "runc") -> None:
        """Start containerd. pause: the image of each pod's sandbox; it and `images` are copied from the lab.

        handlers: sections of the configuration for more runtime handlers. default: the handler of pods that name none.
        """
        self.lab = lab
        self.handlers = handlers
        self.default = default
        self.pause = pause
        self.images = images
        remove_left_overs()
        self.folder = make_folder("cri")
        self.cgroup = f"pyinit-{self.folder.name}"
        self.log = open(self.folder / "log", "w+b")
        self.configure()
        # containerd has its own /run: shims keep their sockets in /run/containerd, even if the configuration names
        # another folder. PID 1 is pyinit: it adopts the shims, which containerd leaves on purpose. When containerd
        # ends, the loop starts it again, as a service manager does.
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
             'mount -t tmpfs run /run && exec "$@"', "sh", sys.executable, "-m", "pyinit", "--",
             "sh", "-c", "for start in 1 2 3; do containerd --config $0; done", self.folder / "config.toml"],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, start_new_session=True)

    def __enter__(self) -> Containerd:
        try:
            wait_until(self.is_ready, "containerd to answer")
            for image in (self.pause, *self.images):
                self.import_image(image)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.log.close()
        wait_until(lambda: remove_cgroups(self.cgroup), "the containers' cgroups to be empty")
        shutil.rmtree(self.folder)

    def kill(self) -> None:
        """Kill the namespace's PID 1, and wait until every process of the namespace has ended: unshare reaps PID 1,
        which the kernel ends last. If unshare were killed, the others would outlive it for a moment.
        """
        wait_until(lambda: children_of(self.process.pid) or self.process.poll() is not None, "the namespace's PID 1")
        for pid in children_of(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()

    def configure(self) -> None:
        """Write the configuration."""
        snapshotter = "native" if storage_driver(self.folder) == "vfs" else "overlayfs"
        (self.folder / "config.toml").write_text(
            CONFIG.format(folder=self.folder, sandbox_image=self.pause if ":" in self.pause else f"{self.pause}:latest",
                          snapshotter=snapshotter, runtime=find_runtime(), default=self.default) + self.handlers)

    def change_pause(self, image: str) -> None:
        """Change the pause of new pods as docs/pause.md says: import the image, write the configuration, restart."""
        self.import_image(image)
        self.pause = image
        self.configure()
        self.restart()

    def restart(self) -> None:
        """End containerd, and wait until it has been started again; shims and containers keep running."""
        before = self.daemon()
        assert before, self.read_log()
        os.kill(before, signal.SIGTERM)
        wait_until(lambda: self.daemon() not in (None, before) and self.is_ready(), "containerd to answer again")

    def daemon(self) -> int | None:
        """Return the PID of containerd itself on this machine, or None if it is not running."""
        return next((pid for pid in list_processes()
                     if read_status(pid).get("Name") == "containerd" and self.is_ancestor_of(pid)), None)

    def is_ready(self) -> bool:
        """Say whether containerd answers. Raises AssertionError if it has ended."""
        assert self.process.poll() is None, self.read_log()
        try:
            return bool(self.call("Version"))
        except (RpcError, AssertionError):
            return False

    def read_log(self) -> str:
        """Return the last 4,000 characters that containerd has logged."""
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def import_image(self, image: str) -> None:
        """Copy an image of the lab into the namespace of the kubelet's images, as the documentation does."""
        self.ctr("images", "import", self.lab.save(image))

    def ctr(self, *arguments: object) -> str:
        """Run containerd's client in the namespace of the kubelet's images, and return what it prints."""
        return run(["ctr", "--address", self.folder / "socket", "--namespace", "k8s.io", *arguments]).stdout

    def call(self, method: str, message: Message | None = None) -> Message:
        """Call a method of the CRI and return its answer. Raises RpcError if the runtime refuses."""
        service = "ImageService" if "Image" in method else "RuntimeService"
        content = encode(f"{method}Request", message or {})
        answer = self.post(f"/runtime.v1.{service}/{method}", struct.pack(">BI", 0, len(content)) + content)
        return decode(f"{method}Response", unframe(method, answer))

    def post(self, path: str, body: bytes) -> Answer:
        """Send an HTTP/2 request to the socket, without TLS or an upgrade from HTTP/1.1, and return the response."""
        with tempfile.NamedTemporaryFile() as headers:
            done = subprocess.run(
                ["curl", "--silent", "--show-error", "--http2-prior-knowledge", "--unix-socket", self.folder / "socket",
                 "--max-time", str(TIMEOUT), "--header", "content-type: application/grpc", "--header", "te: trailers",
                 "--data-binary", "@-", "--dump-header", headers.name, f"http://localhost{path}"],
                input=body, capture_output=True, timeout=TIMEOUT)
            assert done.returncode == 0, f"curl: {done.stderr.decode()}"
            pairs = (line.partition(":") for line in headers.read().decode().splitlines())
            return Answer({name.lower(): value.strip() for name, _, value in pairs}, done.stdout)

    def pid(self, inner: int) -> int:
        """Return the PID on this machine of a process that has the PID `inner` in containerd's namespace."""
        found = self.find(inner)
        assert found, f"no process with PID {inner} in containerd's namespace"
        return found

    def find(self, inner: int) -> int | None:
        """Return the same, or None if there is no such process."""
        return next((pid for pid in list_processes()
                     if read_status(pid).get("NSpid", "").split()[1:2] == [str(inner)] and self.is_ancestor_of(pid)),
                    None)

    def is_ancestor_of(self, pid: int) -> bool:
        """Say whether containerd's `unshare` is an ancestor of a process."""
        while pid > 1 and pid != self.process.pid:
            pid = int((read_stat(pid) + ["", "0"])[1] or 0)
        return pid == self.process.pid
