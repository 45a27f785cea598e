"""Read the manifests of deploy/kubernetes with kubectl, without a cluster."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from support.containers import run
from support.settings import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"

Object = dict[str, Any]  # an object of Kubernetes, parsed from JSON; kubectl checks the fields of each kind


def need(program: str) -> str:
    """Return the name of a program; skip the test if it is not installed."""
    if not shutil.which(program):
        pytest.skip(f"not installed: {program}")
    return program


def read_manifests(name: str) -> list[Object]:
    """Return the objects of a file as kubectl reads them."""
    return read_objects("--filename", FOLDER / name)


def read_kustomization(folder: Path) -> list[Object]:
    """Return the objects of a folder's kustomization as `kubectl apply -k` would send them."""
    return read_objects("--kustomize", folder)


def read_objects(*source: object) -> list[Object]:
    """Return the objects of a source. `kubectl label --local` prints them one after another, without a cluster."""
    text = run([need("kubectl"), "label", "--local", *source, "--output", "json", "test=test"],
               env={**os.environ, "KUBECONFIG": os.devnull}).stdout
    manifests, decoder = [], json.JSONDecoder()
    while text.strip():
        manifest, end = decoder.raw_decode(text.lstrip())
        manifests.append(manifest)
        text = text.lstrip()[end:]
    return manifests


def violations(spec: Object) -> set[str]:
    """Return the rules of the Pod Security level "restricted" that a pod violates. Only rules that the project's
    manifests could violate are checked.
    """
    found = {field for field in ("hostPID", "hostIPC", "hostNetwork") if spec.get(field)}
    found |= {"hostPath" for volume in spec.get("volumes", []) if "hostPath" in volume}
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        context = {**spec.get("securityContext", {}), **container.get("securityContext", {})}
        capabilities = context.get("capabilities", {})
        kept = {
            "privileged": not context.get("privileged"),
            "allowPrivilegeEscalation": context.get("allowPrivilegeEscalation") is False,
            "runAsNonRoot": context.get("runAsNonRoot") is True and context.get("runAsUser") != 0,
            "seccompProfile": context.get("seccompProfile") == {"type": "RuntimeDefault"},
            "drop": capabilities.get("drop") == ["ALL"],
            "add": not capabilities.get("add"),
            # The project's own rule; Pod Security has none for this.
            "readOnlyRootFilesystem": context.get("readOnlyRootFilesystem") is True,
        }
        found |= {f"{container['name']}: {rule}" for rule, is_kept in kept.items() if not is_kept}
    return found
