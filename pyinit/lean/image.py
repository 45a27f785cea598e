"""Container images without a builder: an OCI archive that has one of the lean programs for each machine.

OCI image layout specification 1.0: blobs by their digest, and index.json, which names one image index. manifest.json
names the same blobs for `docker load`. The bytes are the same each time, because there is no time and no compression.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from typing import Any

from .. import __version__
from . import MACHINES, build

ARCHITECTURES = {"x86_64": {"architecture": "amd64"}, "aarch64": {"architecture": "arm64", "variant": "v8"}}  # as in Go
USER = "65535:65535"  # as the pause of Kubernetes
EPOCH = "1970-01-01T00:00:00Z"

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


def write(program: str) -> bytes:
    """Return the archive of a program, a key of PROGRAMS."""
    name = name_image(program)
    blobs: dict[str, bytes] = {}
    manifests, docker = [], []
    for machine in MACHINES:
        layer = add(blobs, LAYER, pack({program: (build(program, machine), 0o755)}))
        config = add(blobs, CONFIG, encode(describe(program, machine, layer["digest"])))
        manifest = add(blobs, MANIFEST, encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                                                "layers": [layer]}))
        platform = {"os": "linux", **ARCHITECTURES[machine]}
        manifests.append({**manifest, "platform": platform})
        docker.append({"Config": locate(config), "RepoTags": [f"{name}-{platform['architecture']}"],
                       "Layers": [locate(layer)]})
    index = add(blobs, INDEX, encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}))
    # The name for podman and skopeo, and the one that containerd reads.
    index["annotations"] = {"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name}
    files = {"oci-layout": encode({"imageLayoutVersion": "1.0.0"}),
             "index.json": encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [index]}),
             "manifest.json": encode(docker), **blobs}
    return pack({path: (content, 0o644) for path, content in files.items()})


def name_image(program: str) -> str:
    """Return the name that an engine gives the image."""
    return f"localhost/lean-{program}:{__version__}"


def describe(program: str, machine: str, layer: str) -> dict[str, Any]:
    """Return the configuration of an image, OCI image specification. layer: the digest of its layer."""
    return {"created": EPOCH, "os": "linux", **ARCHITECTURES[machine],
            "config": {"User": USER, "Entrypoint": [f"/{program}"]},
            "rootfs": {"type": "layers", "diff_ids": [layer]},
            "history": [{"created": EPOCH, "created_by": f"pyinit {__version__}"}]}


def add(blobs: dict[str, bytes], kind: str, content: bytes) -> dict[str, Any]:
    """Add a blob; return its descriptor. kind: its media type."""
    descriptor = {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(content).hexdigest()}", "size": len(content)}
    blobs[locate(descriptor)] = content
    return descriptor


def locate(descriptor: dict[str, Any]) -> str:
    """Return the path of a blob in the archive."""
    return f"blobs/{descriptor['digest'].replace(':', '/')}"


def encode(value: object) -> bytes:
    """Return a value as JSON, with the same bytes each time."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


def pack(files: dict[str, tuple[bytes, int]]) -> bytes:
    """Return a tar archive of files, from path to content and mode, and of their directories. All belong to root and
    have the time of the epoch. If a directory had no entry, skopeo would give it to root, which an ordinary user may
    not do.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for folder in sorted({path[:end] for path in files for end, letter in enumerate(path) if letter == "/"}):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(member)
        for path, (content, mode) in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(content), mode
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()
