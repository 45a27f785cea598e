"""The messages of Kubernetes' Container Runtime Interface in protobuf's wire format."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Union

# The fields of a message by name. Their types are in MESSAGES, where a type checker does not see them.
Message = dict[str, Any]
Value = Union[int, str, bytes, Message]

# The messages of the CRI's runtime.v1, api.proto, that tests use: message -> field -> (number, type). A type is
# "string", "bytes", "int", "bool" or the name of a message. A "*" in front marks a repeated field. A map is a list of
# Entry.
MESSAGES: dict[str, dict[str, tuple[int, str]]] = {
    "VersionRequest": {},
    "VersionResponse": {"version": (1, "string")},
    "RunPodSandboxRequest": {"config": (1, "PodSandboxConfig"), "runtime_handler": (2, "string")},
    "RunPodSandboxResponse": {"pod_sandbox_id": (1, "string")},
    "PodSandboxStatusRequest": {"pod_sandbox_id": (1, "string"), "verbose": (2, "bool")},
    "PodSandboxStatusResponse": {"status": (1, "PodSandboxStatus"), "info": (2, "*Entry")},
    "StopPodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "StopPodSandboxResponse": {},
    "RemovePodSandboxRequest": {"pod_sandbox_id": (1, "string")},
    "RemovePodSandboxResponse": {},
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
    "PodSandboxConfig": {"metadata": (1, "PodSandboxMetadata"), "log_directory": (3, "string"),
                         "dns_config": (4, "DNSConfig"), "annotations": (7, "*Entry"),
                         "linux": (8, "LinuxPodSandboxConfig")},
    "PodSandboxMetadata": {"name": (1, "string"), "uid": (2, "string"), "namespace": (3, "string")},
    "DNSConfig": {"servers": (1, "*string")},
    "LinuxPodSandboxConfig": {"cgroup_parent": (1, "string"), "security_context": (2, "LinuxSandboxSecurityContext")},
    "LinuxSandboxSecurityContext": {"namespace_options": (1, "NamespaceOption"), "run_as_user": (3, "Int64Value"),
                                    "run_as_group": (8, "Int64Value"), "seccomp": (9, "SecurityProfile")},
    "NamespaceOption": {"network": (1, "int"), "pid": (2, "int"), "ipc": (3, "int"), "target_id": (4, "string")},
    "Int64Value": {"value": (1, "int")},
    "SecurityProfile": {"profile_type": (1, "int")},
    "Capability": {"add_capabilities": (1, "*string"), "drop_capabilities": (2, "*string")},
    "Mount": {"container_path": (1, "string"), "host_path": (2, "string"), "readonly": (3, "bool")},
    "PodSandboxStatus": {"state": (3, "int")},
    "ContainerConfig": {"metadata": (1, "ContainerMetadata"), "image": (2, "ImageSpec"), "command": (3, "*string"),
                        "args": (4, "*string"), "mounts": (7, "*Mount"), "log_path": (11, "string"),
                        "tty": (14, "bool"), "linux": (15, "LinuxContainerConfig")},
    "ContainerMetadata": {"name": (1, "string")},
    "ImageSpec": {"image": (1, "string")},
    "LinuxContainerConfig": {"security_context": (2, "LinuxContainerSecurityContext")},
    "LinuxContainerSecurityContext": {"capabilities": (1, "Capability"), "namespace_options": (3, "NamespaceOption"),
                                      "run_as_user": (5, "Int64Value"), "readonly_rootfs": (7, "bool"),
                                      "no_new_privs": (11, "bool"), "run_as_group": (12, "Int64Value"),
                                      "seccomp": (15, "SecurityProfile")},
    "ContainerStatusRequest": {"container_id": (1, "string"), "verbose": (2, "bool")},
    "ContainerStatusResponse": {"status": (1, "ContainerStatus"), "info": (2, "*Entry")},
    "ContainerStatus": {"state": (3, "int"), "exit_code": (7, "int")},
    "Image": {"id": (1, "string"), "repo_tags": (2, "*string"), "uid": (5, "Int64Value"), "pinned": (8, "bool")},
}


def encode_varint(number: int) -> bytes:
    """Encode a number in base 128, lowest digit first; the high bit of a byte says that more follow. A negative number
    is encoded as its 64-bit two's complement.
    """
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def decode_varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number that begins at a position, and the position after it."""
    number = shift = 0
    while True:
        digit = data[position]
        position += 1
        number |= (digit & 127) << shift
        shift += 7
        if digit < 128:
            return number, position


def encode(kind: str, message: Message) -> bytes:
    """Encode a message of MESSAGES in protobuf's wire format."""
    out = b""
    for name, value in message.items():
        number, type = MESSAGES[kind][name]
        for item in value if type.startswith("*") else [value]:
            out += encode_field(number, type.lstrip("*"), item)
    return out


def encode_field(number: int, type: str, value: Value) -> bytes:
    """Encode one field: its number and wire type (0: a number, 2: a length and bytes), and its value."""
    if isinstance(value, int):  # also a bool
        return encode_varint(number << 3) + encode_varint(value)
    content = value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else encode(type, value)
    return encode_varint(number << 3 | 2) + encode_varint(len(content)) + content


def decode(kind: str, data: bytes) -> Message:
    """Decode a message of MESSAGES. A field that was not sent gets protobuf's default; unknown fields are left out."""
    empty: dict[str, Value] = {"string": "", "bytes": b"", "int": 0, "bool": False}
    fields = {number: (name, type) for name, (number, type) in MESSAGES[kind].items()}
    message: Message = {name: [] if type.startswith("*") else empty.get(type) for name, type in fields.values()}
    for number, value in wire_fields(data):
        name, type = fields.get(number, ("", ""))
        if type.startswith("*"):
            message[name].append(decode_value(type[1:], value))
        elif name:
            message[name] = decode_value(type, value)
    return message


def wire_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the undecoded value of each field. Raises ValueError for a wire type other than 0 and 2."""
    position = 0
    while position < len(data):
        key, position = decode_varint(data, position)
        number, position = decode_varint(data, position)
        if key & 7 == 0:
            yield key >> 3, number
        elif key & 7 == 2:
            yield key >> 3, data[position:position + number]
            position += number
        else:
            raise ValueError(f"field {key >> 3} has wire type {key & 7}, expected 0 or 2")


def decode_value(type: str, value: int | bytes) -> Value:
    """Convert a field's value to its type."""
    if isinstance(value, int):
        return bool(value) if type == "bool" else value - (1 << 64) if value >> 63 else value
    if type == "bytes":
        return value
    return value.decode() if type == "string" else decode(type, value)
