"""Each file of crds/invalid is refused by the real API server, at the field and with the words it states."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.controlplane import ControlPlane
from integration.kube import OWN, ApiError, Kube
from refusals import Refusal, refusals
from tenantry_core.crds import crd_directory
from tenantry_operator.definitions import definition_of

STRICT = {"fieldValidation": "Strict", "dryRun": "All"}


def collection(manifest: dict[str, Any]) -> str:
    definition = definition_of(manifest)
    namespace = "/namespaces/default" if definition.namespaced else ""
    return f"{OWN}{namespace}/{definition.plural}"


@pytest.mark.parametrize("refusal", refusals(), ids=lambda refusal: refusal.name)
def test_refuses_on_the_server(kube: Kube, refusal: Refusal) -> None:
    *accepted, refused = refusal.manifests
    path = collection(refused)
    if not accepted:
        with pytest.raises(ApiError) as caught:
            kube.create(path, refused, **STRICT)
    else:
        [first] = accepted
        kube.create(path, first)
        try:
            one = f"{path}/{refused['metadata']['name']}"
            refused["metadata"]["resourceVersion"] = kube.get(one)["metadata"]["resourceVersion"]
            with pytest.raises(ApiError) as caught:
                kube.replace(one, refused, **STRICT)
        finally:
            kube.delete(one)
    if caught.value.causes:
        assert refusal.path in [cause["field"] for cause in caught.value.causes]
        [message] = [c["message"] for c in caught.value.causes if c["field"] == refusal.path]
    else:
        message = str(caught.value)  # an unknown field: the whole document could not be read
    assert message.endswith(refusal.sentence)


@pytest.mark.parametrize("path", sorted((crd_directory() / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_takes_the_examples(kube: Kube, path: Path) -> None:
    manifest = yaml.safe_load(path.read_text())
    kube.create(collection(manifest), manifest, **STRICT)


@pytest.mark.parametrize("kind", ["tm", "pp", "ps"])
def test_explains_itself(plane: ControlPlane, tmp_path: Path, kind: str) -> None:
    # kubectl remembers what it discovered; from before these kinds were installed, that is too little.
    text = plane.kubectl("explain", kind, f"--cache-dir={tmp_path}")
    assert "FIELDS" in text
    assert "<empty>" not in text
