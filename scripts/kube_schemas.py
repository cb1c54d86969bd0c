"""JSON schemas of the kinds that the chart may render, for kubeconform, which would else fetch them.

Those of Kubernetes come from the OpenAPI files of its Go module, at the version that the tests' API server is
built from; those of other kinds from CustomResourceDefinitions. They are strict: no unknown member passes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from cluster import programs, toolchain
from cluster.programs import cache_directory

ROOT = Path(__file__).resolve().parents[1]
LOCATION = "{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json"
"""Of a schema in the directory, in the words of kubeconform; core kinds have their version for a group."""

Schema = dict[str, Any]


@dataclass(frozen=True)
class _Module:
    path: str
    version: str
    checksum: str
    definitions: tuple[str, ...]


# Data only, so no go.mod requires them.
_MODULES = (
    _Module(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        tuple(
            f"jsonnet/prometheus-operator/{kind}-crd.json"
            for kind in ("servicemonitors", "podmonitors", "prometheusrules")
        ),
    ),
    _Module(
        "sigs.k8s.io/gateway-api",
        "v1.5.0",
        "h1:duoo14Ky/fJXpjpmyMISE2RTBGnfCg8zICfTYLTnBJA=",
        ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
    ),
)


class SchemasUnavailable(Exception):
    """A module that holds them could not be had; the message says which and why."""


def directory() -> Path:
    """Made at first use, and kept outside the clone. Raises SchemasUnavailable and BuildError."""
    made = cache_directory() / f"schemas-{_digest()}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent, prefix=".schemas-") as scratch:
            folder = Path(scratch) / "schemas"
            for name, schema in _schemas():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(schema))
            folder.rename(made)
    return made


def _digest() -> str:
    """Of everything that the schemas are made from."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for path in (programs.KUBE_APISERVER.source / "go.sum", *_own_definitions()):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _own_definitions() -> list[Path]:
    return sorted((ROOT / "crds").glob("*.yaml"))


def _schemas() -> Iterator[tuple[str, Schema]]:
    """By place in the directory."""
    kubernetes = _download("k8s.io/kubernetes", cwd=programs.KUBE_APISERVER.source)
    for path in (kubernetes / "api/openapi-spec/v3").glob("*__v*_openapi.json"):
        yield from _of_openapi(json.loads(path.read_text())["components"].get("schemas", {}))
    files = _own_definitions()
    for module in _MODULES:
        folder = _download(f"{module.path}@{module.version}", module.checksum)
        files += [folder / name for name in module.definitions]
    for path in files:
        load = json.loads if path.suffix == ".json" else yaml.safe_load
        yield from _of_definition(load(path.read_text())["spec"])


def _download(module: str, checksum: str = "", cwd: Path | None = None) -> Path:
    command = [str(toolchain.go()), "mod", "download", "-json", module]
    answer = subprocess.run(command, cwd=cwd or "/", capture_output=True, text=True, timeout=600, check=False)
    told = json.loads(answer.stdout or "{}")
    if answer.returncode != 0 or "Dir" not in told:
        raise SchemasUnavailable(f"{module}: {told.get('Error') or answer.stderr.strip()}")
    if checksum and told["Sum"] != checksum:
        raise SchemasUnavailable(f"{module}: its checksum is {told['Sum']}, not {checksum}")
    return Path(told["Dir"])


def _of_openapi(schemas: dict[str, Schema]) -> Iterator[tuple[str, Schema]]:
    """All schemas of one file refer to each other, so each kind's file holds them all."""
    definitions = {name: _strict(schema) for name, schema in schemas.items()}
    for name, schema in schemas.items():
        for kind in schema.get("x-kubernetes-group-version-kind", ()):
            place = _place(kind["group"], kind["kind"], kind["version"])
            yield place, {"$ref": f"#/components/schemas/{name}", "components": {"schemas": definitions}}


def _of_definition(spec: Schema) -> Iterator[tuple[str, Schema]]:
    for version in spec["versions"]:
        schema = _strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {kind: {"type": "string"} for kind in ("apiVersion", "kind")}
        schema["properties"]["metadata"] = {"type": "object"}
        yield _place(spec["group"], spec["names"]["kind"], version["name"]), schema


def _place(group: str, kind: str, version: str) -> str:
    return f"{group or version}/{kind.lower()}_{version}.json"


def _strict(schema: Any) -> Any:
    """The same, refusing members that it does not name; what only Kubernetes understands is left out."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    strict: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            strict[key] = {name: _strict(member) for name, member in value.items()}
        elif not key.startswith("x-kubernetes-") and key not in ("default", "format", "nullable"):
            strict[key] = _strict(value)
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict
