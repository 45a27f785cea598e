"""Make pods from manifests as the kubelet does, under a containerd of the tests' own."""

from __future__ import annotations

import json
import uuid
from typing import TypedDict, cast

from support.containers import wait_for_program
from support.cri import Containerd
from support.cri_messages import Message
from support.waiting import wait_until

# NamespaceMode, PodSandboxState, ContainerState and SecurityProfile.ProfileType of the CRI, api.proto.
POD, CONTAINER, NODE, TARGET = range(4)
READY, NOT_READY = 0, 1
EXITED = 2
RUNTIME_DEFAULT = 0


# The fields of Kubernetes' objects that the project's manifests have.


class Profile(TypedDict):
    """seccompProfile."""

    type: str


class Capabilities(TypedDict, total=False):
    """The capabilities that a container has in addition to the runtime's default, or lacks, capabilities(7)."""

    add: list[str]
    drop: list[str]


class SecurityContext(TypedDict, total=False):
    """securityContext of a pod or a container."""

    runAsUser: int
    runAsGroup: int
    seccompProfile: Profile
    capabilities: Capabilities
    readOnlyRootFilesystem: bool
    allowPrivilegeEscalation: bool


class HostPath(TypedDict):
    """A folder of the node."""

    path: str


class Volume(TypedDict, total=False):
    """A volume of a pod."""

    name: str
    hostPath: HostPath
    emptyDir: dict[str, str]


class VolumeMount(TypedDict, total=False):
    """An entry of a container's volumeMounts."""

    name: str
    mountPath: str
    readOnly: bool


class Container(TypedDict, total=False):
    """An entry of a pod's containers or initContainers."""

    name: str
    image: str
    command: list[str]
    args: list[str]
    tty: bool
    securityContext: SecurityContext
    volumeMounts: list[VolumeMount]


class PodSpec(TypedDict, total=False):
    """The spec of a Pod."""

    hostPID: bool
    shareProcessNamespace: bool
    runtimeClassName: str
    securityContext: SecurityContext
    volumes: list[Volume]


class Metadata(TypedDict, total=False):
    """The metadata of an object."""

    name: str
    annotations: dict[str, str]


class Manifest(TypedDict):
    """A Pod, or the template of a DaemonSet's pods."""

    metadata: Metadata
    spec: PodSpec


class Entry(TypedDict):
    """An entry of a map of strings."""

    key: str
    value: str


class SandboxState(TypedDict):
    """PodSandboxStatus of the CRI."""

    state: int


class SandboxStatus(TypedDict):
    """PodSandboxStatusResponse of the CRI."""

    status: SandboxState
    info: list[Entry]


class ContainerStatus(TypedDict):
    """ContainerStatus of the CRI."""

    state: int
    exit_code: int


class ContainerAnswer(TypedDict):
    """ContainerStatusResponse of the CRI."""

    status: ContainerStatus
    info: list[Entry]


class ProbeResult(TypedDict):
    """ExecSyncResponse of the CRI."""

    stdout: bytes
    stderr: bytes
    exit_code: int


def inner_pid(info: list[Entry]) -> int:
    """Return the PID of the first process in containerd's namespace from a verbose status; 0 if it has ended."""
    pid: int = json.loads(next(entry["value"] for entry in info if entry["key"] == "info"))["pid"]
    return pid


class Pod:
    """A pod made from a manifest as the kubelet does, on the node's network as there is no CNI. A `with` removes it.

    manifest: a Pod, or the template of a DaemonSet. Only the fields that the project's manifests have are used.
    """

    def __init__(self, containerd: Containerd, manifest: Manifest) -> None:
        self.containerd = containerd
        self.spec = manifest["spec"]
        self.uid = str(uuid.uuid4())
        self.config: Message = {
            "metadata": {"name": manifest["metadata"].get("name", "pod"), "uid": self.uid, "namespace": "default"},
            "log_directory": str(containerd.folder), "dns_config": {"servers": ["127.0.0.1"]},
            "annotations": [{"key": key, "value": value}
                            for key, value in manifest["metadata"].get("annotations", {}).items()],
            "linux": {"cgroup_parent": f"/{containerd.cgroup}/kubepods/besteffort/pod{self.uid}",
                      "security_context": {"namespace_options": self.namespaces(), **self.user({})}}}
        self.id = containerd.call("RunPodSandbox", {
            "config": self.config, "runtime_handler": self.spec.get("runtimeClassName", "")})["pod_sandbox_id"]
        self.pause()

    def __enter__(self) -> Pod:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.containerd.call("RemovePodSandbox", {"pod_sandbox_id": self.id})

    def stop(self) -> None:
        """End all containers and the pause."""
        self.containerd.call("StopPodSandbox", {"pod_sandbox_id": self.id})

    def state(self) -> int:
        """Return READY or NOT_READY."""
        return self.status()["status"]["state"]

    def status(self) -> SandboxStatus:
        """Return the runtime's status of the pod, which describes the container of the pause."""
        answer = self.containerd.call("PodSandboxStatus", {"pod_sandbox_id": self.id, "verbose": True})
        return cast(SandboxStatus, answer)

    def pause(self) -> int:
        """Return the PID of the pause on this machine, once it has been executed."""
        return wait_for_program(self.containerd.pid(inner_pid(self.status()["info"])))

    def first_process(self, container: str) -> int:
        """Return the PID of a running container's first process on this machine."""
        return self.containerd.pid(inner_pid(self.ask(container)["info"]))

    def namespaces(self, target: str = "") -> Message:
        """Return the namespaces that a container shares.

        target: the container whose PID namespace an ephemeral container joins.
        """
        if target:
            return {"network": NODE, "pid": TARGET, "ipc": POD, "target_id": target}
        pid = NODE if self.spec.get("hostPID") else POD if self.spec.get("shareProcessNamespace") else CONTAINER
        return {"network": NODE, "pid": pid, "ipc": POD}

    def user(self, own: SecurityContext) -> Message:
        """Return the user, group and seccomp filter of a container; its own securityContext overrides the pod's."""
        context: SecurityContext = {**self.spec.get("securityContext", {}), **own}
        profile = context.get("seccompProfile")
        assert profile in (None, {"type": "RuntimeDefault"}), profile
        return {**({"run_as_user": {"value": context["runAsUser"]}} if "runAsUser" in context else {}),
                **({"run_as_group": {"value": context["runAsGroup"]}} if "runAsGroup" in context else {}),
                **({"seccomp": {"profile_type": RUNTIME_DEFAULT}} if profile else {})}

    def host_path(self, volume: Volume) -> str:
        """Return the path of a volume on the node. Make an emptyDir if it is missing; every user may write to it."""
        if "hostPath" in volume:
            return volume["hostPath"]["path"]
        assert "emptyDir" in volume, volume
        path = self.containerd.folder / "pods" / self.uid / volume["name"]
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        return str(path)

    def create(self, container: Container, target: str = "") -> str:
        """Make a container from its manifest, start it, wait until it has executed its program, and return its ID.

        target: see namespaces().
        """
        context = container.get("securityContext", {})
        capabilities = context.get("capabilities", {})
        paths = {volume["name"]: self.host_path(volume) for volume in self.spec.get("volumes", [])}
        config: Message = {
            "metadata": {"name": container["name"]}, "image": {"image": container["image"]},
            "command": container.get("command", []), "args": container.get("args", []),
            "log_path": f"{self.id}-{container['name']}.log", "tty": container.get("tty", False),
            "mounts": [{"container_path": mount["mountPath"], "host_path": paths[mount["name"]],
                        "readonly": mount.get("readOnly", False)} for mount in container.get("volumeMounts", [])],
            "linux": {"security_context": {
                "namespace_options": self.namespaces(target), **self.user(context),
                "capabilities": {"add_capabilities": capabilities.get("add", []),
                                 "drop_capabilities": capabilities.get("drop", [])},
                "readonly_rootfs": context.get("readOnlyRootFilesystem", False),
                "no_new_privs": not context.get("allowPrivilegeEscalation", True)}}}
        answer = self.containerd.call("CreateContainer", {"pod_sandbox_id": self.id, "config": config,
                                                          "sandbox_config": self.config})
        self.containerd.call("StartContainer", answer)
        identity: str = answer["container_id"]
        first = self.containerd.find(inner_pid(self.ask(identity)["info"]))
        if first:  # it may have ended
            wait_for_program(first)
        return identity

    def end(self, container: str, seconds: int) -> int:
        """End a container by SIGTERM, and by SIGKILL after `seconds`; return its exit code."""
        self.containerd.call("StopContainer", {"container_id": container, "timeout": seconds})
        return self.finish(container)

    def finish(self, container: str) -> int:
        """Wait until a container ends by itself, as an entry of initContainers does, and return its exit code."""
        wait_until(lambda: self.container_status(container)["state"] == EXITED, "the container to end")
        return self.container_status(container)["exit_code"]

    def container_status(self, container: str) -> ContainerStatus:
        """Return the runtime's status of a container."""
        return self.ask(container)["status"]

    def ask(self, container: str) -> ContainerAnswer:
        """Return the runtime's status of a container, with more information."""
        answer = self.containerd.call("ContainerStatus", {"container_id": container, "verbose": True})
        return cast(ContainerAnswer, answer)

    def probe(self, container: str, command: list[str], seconds: int = 60) -> ProbeResult:
        """Run a command in a container as the kubelet runs an exec probe; return its output and exit code.

        Raises RpcError with DEADLINE_EXCEEDED if it takes longer than `seconds`.
        """
        answer = self.containerd.call("ExecSync", {"container_id": container, "cmd": command, "timeout": seconds})
        return cast(ProbeResult, answer)

    def log(self, container: Container) -> str:
        """Return what a container has written."""
        return (self.containerd.folder / f"{self.id}-{container['name']}.log").read_text()
