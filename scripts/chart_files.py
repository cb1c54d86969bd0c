"""What the chart takes from `crds/`: copies of the files, and the schema of a pool's spec.

A chart must hold its files itself: links are lost where archives are unpacked, and Helm reports each one.
`make chart` writes them; `scripts/check_chart.py` tells when they are out of date.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scripts.rule_schemas import Schema, rule_schema

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy/helm/tenantry"
_CRDS = ROOT / "crds"
_SCHEMA = CHART / "values.schema.json"
_KEPT = (
    "description",
    "type",
    "enum",
    "required",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "maxProperties",
)


def expected() -> dict[Path, str]:
    """Contents by file."""
    files = {CHART / "files/crds" / path.name: path.read_text() for path in sorted(_CRDS.glob("*.yaml"))}
    schema = json.loads(_SCHEMA.read_text())
    schema["definitions"]["predictorPoolSpec"] = _values_schema(_pool_spec())
    files[_SCHEMA] = json.dumps(schema, indent=2) + "\n"
    return files


def out_of_date() -> list[Path]:
    """Files that are not as expected, and those that do not belong."""
    files = expected()
    late = [path for path, text in files.items() if not path.is_file() or path.read_text() != text]
    return late + sorted(set((CHART / "files/crds").iterdir()) - files.keys())


def _pool_spec() -> Schema:
    definition = yaml.safe_load((_CRDS / "predictorpools.yaml").read_text())
    spec: Schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return spec


def _values_schema(source: Schema) -> Schema:
    """JSON schema that refuses unknown members, as the API server's strict validation does.

    It cannot say that a list's items differ in a key, such as their names; the templates see to that.
    """
    schema = {key: source[key] for key in _KEPT if key in source}
    if source.get("x-kubernetes-int-or-string"):
        schema["type"] = ["integer", "string"]
    if source.get("x-kubernetes-list-type") == "set":
        schema["uniqueItems"] = True
    if "properties" in source:
        schema["properties"] = {name: _values_schema(value) for name, value in source["properties"].items()}
        schema["additionalProperties"] = False
    elif "additionalProperties" in source:
        schema["additionalProperties"] = _values_schema(source["additionalProperties"])
    if "items" in source:
        schema["items"] = _values_schema(source["items"])
    rules = [rule_schema(rule["rule"]) for rule in source.get("x-kubernetes-validations", ())]
    return schema | (rules[0] if len(rules) == 1 else {"allOf": rules} if rules else {})


def main() -> None:
    for path, text in expected().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for path in out_of_date():
        path.unlink()


if __name__ == "__main__":
    main()
