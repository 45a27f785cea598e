"""A containerd of the tests' own, and what the kubelet says to it: the Container Runtime Interface, spoken by curl."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from containers import CACHE, TIMEOUT, Lab, find_runtime, is_left_over, make_folder, run, storage_driver
from support import ROOT, process_ids, read_stat, read_status, wait_until

# What is used of the CRI's runtime.v1, api.proto: message -> field -> (number, type). A type is "string", "bytes",
# "int" or "bool", else a message; "*" in front of it says that the field is repeated. A map is a list of Entry.
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "VersionRequest": {"version": (1, "string")},
    "VersionResponse": {"version": (1, "string"), "runtime_name": (2, "string"), "runtime_version": (3, "string"),
                        "runtime_api_version": (4, "string")},
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig"), "runtime_handler": (2, "string")},
    "RunPodSandboxResponse": {"pod_sandbox_id": (1, "string")},
    "PodSandboxStatusRequest": {"pod_sandbox_id": (1, "string"), "verbose": (2, "bool")},
    "PodSandboxStatusResponse": {"status": (1, "PodSandboxStatus"), "info": (2, "*Entry")},
    "StopPodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "StopPodSandboxResponse": {},
    "RemovePodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "RemovePodSandboxResponse": {},
    "ListPodSandboxRequest": {},
    "ListPodSandboxResponse": {"items": (1, "*PodSandbox")},
    "CreateContainerRequest": {"pod_sandbox_id": (1, "string"), "config": (2, "ContainerConfig"),
                               "sandbox_config": (3, "PodSandboxConfig")},
    "CreateContainerResponse": {"container_id": (1, "string")},
    "StartContainerRequest": {"container_id": (1, "string")},
    "StartContainerResponse": {},
    "StopContainerRequest": {"container_id": (1, "string"), "timeout": (2, "int")},
    "StopContainerResponse": {},
    "ExecSyncRequest": {"container_id": (1, "string"), "cmd": (2, "*string"), "timeout": (3, "int")},
    "ExecSyncResponse": {"stdout": (1, "bytes"), "stderr": (2, "bytes"), "exit_code": (3, "int")},
    "ListImagesRequest": {},
    "ListImagesResponse": {"images": (1, "*Image")},
    "Entry": {"key": (1, "string"), "value": (2, "string")},
    "PodSandbox": {"id": (1, "string")},
    "PodSandboxConfig": {"metadata": (1, "PodSandboxMetadata"), "hostname": (2, "string"),
                         "log_directory": (3, "string"), "dns_config": (4, "DNSConfig"), "labels": (6, "*Entry"),
                         "linux": (8, "LinuxPodSandboxConfig")},
    "PodSandboxMetadata": {"name": (1, "string"), "uid": (2, "string"), "namespace": (3, "string"),
                           "attempt": (4, "int")},
    "DNSConfig": {"servers": (1, "*string")},
    "LinuxPodSandboxConfig": {"cgroup_parent": (1, "string"), "security_context": (2, "LinuxSandboxSecurityContext")},
    "LinuxSandboxSecurityContext": {"namespace_options": (1, "NamespaceOption"), "run_as_user": (3, "Int64Value"),
                                    "readonly_rootfs": (4, "bool"), "run_as_group": (8, "Int64Value"),
                                    "seccomp": (9, "SecurityProfile")},
    "NamespaceOption": {"network": (1, "int"), "pid": (2, "int"), "ipc": (3, "int")},
    "Int64Value": {"value": (1, "int")},
    "SecurityProfile": {"profile_type": (1, "int"), "localhost_ref": (2, "string")},
    "Capability": {"add_capabilities": (1, "*string"), "drop_capabilities": (2, "*string")},
    "Mount": {"container_path": (1, "string"), "host_path": (2, "string"), "readonly": (3, "bool")},
    "PodSandboxStatus": {"id": (1, "string"), "state": (3, "int")},
    "ContainerConfig": {"metadata": (1, "ContainerMetadata"), "image": (2, "ImageSpec"), "command": (3, "*string"),
                        "args": (4, "*string"), "mounts": (7, "*Mount"), "log_path": (11, "string"),
                        "linux": (15, "LinuxContainerConfig")},
    "ContainerMetadata": {"name": (1, "string"), "attempt": (2, "int")},
    "ImageSpec": {"image": (1, "string")},
    "LinuxContainerConfig": {"security_context": (2, "LinuxContainerSecurityContext")},
    "LinuxContainerSecurityContext": {"capabilities": (1, "Capability"), "namespace_options": (3, "NamespaceOption"),
                                      "run_as_user": (5, "Int64Value"), "readonly_rootfs": (7, "bool"),
                                      "no_new_privs": (11, "bool"), "run_as_group": (12, "Int64Value"),
                                      "seccomp": (15, "SecurityProfile")},
    "ContainerStatusRequest": {"container_id": (1, "string")},
    "ContainerStatusResponse": {"status": (1, "ContainerStatus")},
    "ContainerStatus": {"state": (3, "int"), "exit_code": (7, "int")},
    "Image": {"id": (1, "string"), "repo_tags": (2, "*string"), "uid": (5, "Int64Value"), "pinned": (8, "bool")},
}

# NamespaceMode, PodSandboxState, ContainerState and SecurityProfile.ProfileType of the same file.
POD, CONTAINER, NODE = 0, 1, 2
READY, NOT_READY = 0, 1
EXITED = 2
RUNTIME_DEFAULT = 0

# grpc-status of an answer that came too late.
DEADLINE_EXCEEDED = "4"

# oom_score_adj is lowered by CAP_SYS_RESOURCE alone, proc(5), which a machine that is itself a guest may lack. The rest
# keeps everything in one folder.
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
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
BinaryName = "{runtime}"
"""


def encode_varint(number: int) -> bytes:
    """A number in base 128, lowest digit first; the high bit says that more follow. Negative ones are 64 bits wide."""
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """The number that begins at a position, and the position behind it."""
    number = shift = 0
    while True:
        digit = data[position]
        position += 1
        number |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return number, position


def encode(kind: str, message: dict) -> bytes:
    """A message of MESSAGES in protobuf's wire format."""
    out = b""
    for name, value in message.items():
        number, type = MESSAGES[kind][name]
        for item in value if type.startswith("*") else [value]:
            out += encode_field(number, type.lstrip("*"), item)
    return out


def encode_field(number: int, type: str, value: object) -> bytes:
    """One field: its number and wire type (0 a number, 2 bytes with their length in front), and its value."""
    if type in ("int", "bool"):
        return encode_varint(number << 3) + encode_varint(int(value))
    content = value.encode() if type == "string" else value if type == "bytes" else encode(type, value)
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def decode(kind: str, data: bytes) -> dict:
    """A message of MESSAGES: every field of it, with protobuf's default where it was not sent; others are left out."""
    empty = {"string": "", "bytes": b"", "int": 0, "bool": False}
    fields = {number: (name, type) for name, (number, type) in MESSAGES[kind].items()}
    message = {name: [] if type.startswith("*") else empty.get(type) for name, type in fields.values()}
    for number, value in wire_fields(data):
        name, type = fields.get(number, ("", ""))
        if type.startswith("*"):
            message[name].append(decode_value(type[1:], value))
        elif name:
            message[name] = decode_value(type, value)
    return message


def wire_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message as they stand there: number and value."""
    position = 0
    while position < len(data):
        key, position = decode_varint(data, position)
        value, position = decode_varint(data, position)
        if key & 7 == 2:
            value, position = data[position:position + value], position + value
        elif key & 7:
            raise ValueError(f"field {key >> 3} has wire type {key & 7}, expected 0 or 2")
        yield key >> 3, value


def decode_value(type: str, value: int | bytes) -> object:
    """A value as the type says."""
    if type == "int":
        return value - (1 << 64) if value >> 63 else value
    if type in ("bool", "bytes"):
        return {"bool": bool, "bytes": bytes}[type](value)
    return value.decode() if type == "string" else decode(type, value)


class RpcError(Exception):
    """What the runtime answered when it refused: gRPC's status, a number, and its message."""

    def __init__(self, method: str, status: str, message: str) -> None:
        super().__init__(f"{method}: grpc-status {status!r}: {message}")
        self.status = status


class Answer(NamedTuple):
    """An HTTP answer: headers with the trailers among them, and the body."""

    headers: dict[str, str]
    body: bytes


def unframe(method: str, answer: Answer) -> bytes:
    """The message of a gRPC answer, which stands behind 5 bytes: not compressed, and its length. Raises RpcError."""
    status = answer.headers.get("grpc-status", "")
    if status != "0":
        raise RpcError(method, status, answer.headers.get("grpc-message", ""))
    compressed, length = struct.unpack(">BI", answer.body[:5])
    assert not compressed and len(answer.body) == 5 + length, answer
    return answer.body[5:]


def reason_to_skip() -> str:
    """Why there can be no containerd here; empty when there can be."""
    missing = [program for program in ("containerd", "ctr", "containerd-shim-runc-v2", "curl", "unshare")
               if not shutil.which(program)]
    return f"not installed: {' '.join(missing)}" if missing else ""


def remove_cgroups(name: str) -> bool:
    """Remove the cgroups below those of a name that begins with a slash, innermost first; False while a process is left
    in one, for the kernel removes no other, cgroups(7).
    """
    for top in Path("/sys/fs/cgroup").glob(f"**{name}"):
        for folder, _, _ in os.walk(top, topdown=False):
            try:
                os.rmdir(folder)
            except OSError:
                return False
    return True


def remove_left_overs() -> None:
    """Remove the folders and cgroups of a test run that was killed by SIGKILL; its processes have gone with it."""
    for folder in CACHE.glob("cri-*"):
        if is_left_over(folder, time.time()):
            shutil.rmtree(folder, ignore_errors=True)
    names = {path.name for path in Path("/sys/fs/cgroup").glob("**/pyinit-cri-*") if is_left_over(path, time.time())}
    for name in names:
        remove_cgroups(f"/{name}")


class Containerd:
    """A containerd in a PID and a mount namespace of its own, as in a node that is itself a container.

    So when the namespace's PID 1 is killed, the kernel ends containerd, its shims and every container with it, and what
    they mounted is gone with the last one. What is left is a folder and the cgroups; `with` removes those as well.
    """

    def __init__(self, lab: Lab, pause: str, *images: str) -> None:
        """`pause` is the image that each pod's sandbox is made from; it and `images` are copied from the lab."""
        self.lab = lab
        self.pause = pause
        self.images = images
        remove_left_overs()
        self.folder = make_folder("cri")
        self.cgroup = f"/pyinit-{self.folder.name}"
        self.log = open(self.folder / "log", "w+b")
        self.configure()
        # /run is containerd's own: shims keep their sockets in /run/containerd, whatever the configuration says. PID 1
        # is pyinit: it adopts the shims, which containerd leaves on purpose. When containerd ends it is started again,
        # as a service manager does.
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

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        wait_until(lambda: remove_cgroups(self.cgroup), "the containers' cgroups to be empty")
        shutil.rmtree(self.folder)

    def configure(self) -> None:
        """Write the configuration."""
        snapshotter = "native" if storage_driver(self.folder) == "vfs" else "overlayfs"
        (self.folder / "config.toml").write_text(
            CONFIG.format(folder=self.folder, sandbox_image=self.pause if ":" in self.pause else f"{self.pause}:latest",
                          snapshotter=snapshotter, runtime=find_runtime()))

    def change_pause(self, image: str) -> None:
        """Have another pause for every new pod, as docs/pause.md says: import, configure, restart."""
        self.import_image(image)
        self.pause = image
        self.configure()
        before = self.daemon()
        os.kill(before, signal.SIGTERM)
        wait_until(lambda: self.daemon() not in (None, before) and self.is_ready(), "containerd to answer again")

    def daemon(self) -> int | None:
        """The PID of containerd itself as seen from here, None if there is none."""
        return next((pid for pid in process_ids()
                     if read_status(pid).get("Name") == "containerd" and self.is_ancestor_of(pid)), None)

    def is_ready(self) -> bool:
        """Whether it answers; raises AssertionError if it has ended."""
        assert self.process.poll() is None, self.read_log()
        try:
            return bool(self.call("Version"))
        except (RpcError, AssertionError):
            return False

    def read_log(self) -> str:
        """The end of what containerd has written."""
        return (self.folder / "log").read_text(errors="replace")[-4000:]

    def import_image(self, image: str) -> None:
        """Copy an image of the lab to where the kubelet's images are, as the documentation says to."""
        self.ctr("images", "import", self.lab.save(image))

    def ctr(self, *arguments: object) -> str:
        """What containerd's own client prints, in the namespace of the kubelet's images."""
        return run(["ctr", "--address", self.folder / "socket", "--namespace", "k8s.io", *arguments]).stdout

    def call(self, method: str, message: dict | None = None) -> dict:
        """Call a method of the CRI and return its answer. Raises RpcError if the runtime refuses."""
        service = "ImageService" if "Image" in method else "RuntimeService"
        content = encode(f"{method}Request", message or {})
        answer = self.post(f"/runtime.v1.{service}/{method}", struct.pack(">BI", 0, len(content)) + content)
        return decode(f"{method}Response", unframe(method, answer))

    def post(self, path: str, body: bytes) -> Answer:
        """An HTTP/2 request to the socket, in clear text from its first byte."""
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
        """The PID of one of containerd's processes as seen from here."""
        found = [pid for pid in process_ids()
                 if read_status(pid).get("NSpid", "").split()[1:2] == [str(inner)] and self.is_ancestor_of(pid)]
        assert len(found) == 1, f"processes with PID {inner} in containerd's namespace: {found}"
        return found[0]

    def is_ancestor_of(self, pid: int) -> bool:
        """Whether a process is below containerd's PID 1."""
        while pid > 1 and pid != self.process.pid:
            pid = int((read_stat(pid) + ["", "0"])[1] or 0)
        return pid == self.process.pid


class Pod:
    """A pod, made of a manifest as the kubelet does; without a network, for CNI there is none. Removed by a `with`.

    manifest: what a Pod has, or the template of a DaemonSet. Of `spec` is used what the project's manifests have.
    """

    def __init__(self, containerd: Containerd, manifest: dict) -> None:
        self.containerd = containerd
        self.spec = manifest["spec"]
        self.uid = str(uuid.uuid4())
        self.config = {
            "metadata": {"name": manifest["metadata"].get("name", "pod"), "uid": self.uid, "namespace": "default"},
            "log_directory": str(containerd.folder), "dns_config": {"servers": ["127.0.0.1"]},
            "linux": {"cgroup_parent": f"{containerd.cgroup}/kubepods/besteffort/pod{self.uid}",
                      "security_context": {"namespace_options": self.namespaces(), **self.user({})}}}
        self.id = containerd.call("RunPodSandbox", {"config": self.config})["pod_sandbox_id"]

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_) -> None:
        self.stop()
        self.containerd.call("RemovePodSandbox", {"pod_sandbox_id": self.id})

    def stop(self) -> None:
        """End all containers and the pause."""
        self.containerd.call("StopPodSandbox", {"pod_sandbox_id": self.id})

    def state(self) -> int:
        """READY or NOT_READY."""
        return self.status()["status"]["state"]

    def status(self) -> dict:
        """What the runtime knows, with the container of the pause in it."""
        return self.containerd.call("PodSandboxStatus", {"pod_sandbox_id": self.id, "verbose": True})

    def pause(self) -> int:
        """The PID of the pause as seen from here."""
        info = {entry["key"]: entry["value"] for entry in self.status()["info"]}
        return self.containerd.pid(json.loads(info["info"])["pid"])

    def namespaces(self) -> dict:
        """What is shared with whom."""
        pid = NODE if self.spec.get("hostPID") else POD if self.spec.get("shareProcessNamespace") else CONTAINER
        return {"network": NODE, "pid": pid, "ipc": POD}

    def user(self, context: dict) -> dict:
        """Who it runs as and under which filter: a container's own securityContext goes before the pod's."""
        context = {**self.spec.get("securityContext", {}), **context}
        profile = context.get("seccompProfile", {}).get("type")
        assert profile in (None, "RuntimeDefault"), profile
        return {**({"run_as_user": {"value": context["runAsUser"]}} if "runAsUser" in context else {}),
                **({"run_as_group": {"value": context["runAsGroup"]}} if "runAsGroup" in context else {}),
                **({"seccomp": {"profile_type": RUNTIME_DEFAULT}} if profile else {})}

    def create(self, container: dict) -> str:
        """Make a container of its manifest, start it and return its ID."""
        context = container.get("securityContext", {})
        capabilities = context.get("capabilities", {})
        paths = {volume["name"]: volume["hostPath"]["path"] for volume in self.spec.get("volumes", [])}
        config = {
            "metadata": {"name": container["name"]}, "image": {"image": container["image"]},
            "command": container.get("command", []), "args": container.get("args", []),
            "log_path": f"{self.id}-{container['name']}.log",
            "mounts": [{"container_path": mount["mountPath"], "host_path": paths[mount["name"]],
                        "readonly": mount.get("readOnly", False)} for mount in container.get("volumeMounts", [])],
            "linux": {"security_context": {
                "namespace_options": self.namespaces(), **self.user(context),
                "capabilities": {"add_capabilities": capabilities.get("add", []),
                                 "drop_capabilities": capabilities.get("drop", [])},
                "readonly_rootfs": context.get("readOnlyRootFilesystem", False),
                "no_new_privs": not context.get("allowPrivilegeEscalation", True)}}}
        answer = self.containerd.call("CreateContainer", {"pod_sandbox_id": self.id, "config": config,
                                                          "sandbox_config": self.config})
        self.containerd.call("StartContainer", answer)
        return answer["container_id"]

    def end(self, container: str, seconds: int) -> int:
        """End a container by SIGTERM, and by SIGKILL after that time, and return its exit code."""
        self.containerd.call("StopContainer", {"container_id": container, "timeout": seconds})
        return self.finish(container)

    def finish(self, container: str) -> int:
        """Wait for the end of a container, as for one of initContainers, and return its exit code."""
        wait_until(lambda: self.container_status(container)["state"] == EXITED, "the container to end")
        return self.container_status(container)["exit_code"]

    def container_status(self, container: str) -> dict:
        """What the runtime knows of a container."""
        return self.containerd.call("ContainerStatus", {"container_id": container})["status"]

    def probe(self, container: str, command: list[str], seconds: int = 60) -> dict:
        """Run a command in a container as the kubelet does an exec probe; return its output and exit code.

        Raises RpcError with DEADLINE_EXCEEDED if it takes longer than that.
        """
        return self.containerd.call("ExecSync", {"container_id": container, "cmd": command, "timeout": seconds})

    def log(self, container: dict) -> str:
        """What a container has written."""
        return (self.containerd.folder / f"{self.id}-{container['name']}.log").read_text()
