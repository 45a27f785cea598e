"""With `kubectl apply -k deploy/kubernetes`, each setting that differs between clusters is in one place."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from support.containers import run
from support.manifests import FOLDER, need, read_kustomization, read_manifests
from support.settings import ROOT

pytestmark = pytest.mark.container


def read_resources() -> list[str]:
    """Return the names of the files in kustomization.yaml."""
    text = (FOLDER / "kustomization.yaml").read_text()
    return re.findall(r"^  - ([\w.-]+\.yaml)$", text, re.MULTILINE)


def images_of(manifests: list[dict]) -> set[str]:
    """Return the images of all containers."""
    return set(re.findall(r'"image": "([^"]*)"', json.dumps(manifests)))


def test_it_is_the_manifests_that_it_names() -> None:
    """Without a changed setting, the kustomization changes nothing."""
    assert read_kustomization(FOLDER) == [manifest for name in read_resources() for manifest in read_manifests(name)]
    assert run([need("kubectl"), "kustomize", FOLDER]).stdout.count("\nkind: ") == len(read_kustomization(FOLDER))


def test_it_names_every_object_of_the_folder() -> None:
    """kustomization.yaml applies each manifest, or names it as one that it does not apply."""
    text = (FOLDER / "kustomization.yaml").read_text()
    objects = [path for path in FOLDER.glob("*.yaml")
               if "\napiVersion: " in path.read_text() and path.name != "kustomization.yaml"]
    assert {path.name for path in objects} == set(re.findall(r"[\w-]+\.yaml", text)) - {"kustomization.yaml"}
    assert set(read_resources()) <= {path.name for path in objects}


@pytest.mark.parametrize("way", ["in the file", "in an overlay"])
def test_namespace_and_image_are_in_one_place(way: str, tmp_path: Path) -> None:
    """Each setting is made once and applies everywhere, also from an overlay."""
    folder = tmp_path / "kubernetes"
    shutil.copytree(FOLDER, folder)
    settings = {"namespace: pyinit-zombies": "namespace: elsewhere",
                "newName: localhost/pyinit-zombies": "newName: registry.test:5000/zombies",
                "newTag: latest": 'newTag: "7"'}
    text = (folder / "kustomization.yaml").read_text()
    for before, after in settings.items():
        assert text.count(f"\n{before}\n") + text.count(f" {before}\n") == 1
        text = text.replace(before, after)
    if way == "in an overlay":
        text = re.sub(r"^  - [\w.-]+\.yaml$", "", text, flags=re.MULTILINE) + "  - kubernetes\n"
        (tmp_path / "kustomization.yaml").write_text(text)
        folder = tmp_path
    else:
        (folder / "kustomization.yaml").write_text(text)
    manifests = read_kustomization(folder)
    assert images_of(manifests) == {"registry.test:5000/zombies:7"}
    names = {manifest["metadata"]["namespace"] for manifest in manifests if "namespace" in manifest["metadata"]}
    names |= {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "Namespace"}
    assert names == {"elsewhere"}
    assert images_of(read_kustomization(FOLDER)) == {"localhost/pyinit-zombies:latest"}


def test_page_names_the_command() -> None:
    assert "\nkubectl apply -k deploy/kubernetes\n" in (ROOT / "docs" / "kubernetes.md").read_text()
