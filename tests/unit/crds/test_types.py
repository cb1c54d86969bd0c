"""The schemas in crds/ and the types in core say the same, field by field, both ways."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest
import yaml

from tenantry_core.artifacts import FORMATS_BY_SUFFIX, SAFE_FORMATS
from tenantry_core.crds import crd_directory
from tenantry_core.resources import (
    API_VERSION,
    PredictorPoolSpec,
    PredictorPoolStatus,
    TenantModelSpec,
    TenantModelStatus,
    from_manifest,
)
from tenantry_core.slices import Entry, SliceContent
from tenantry_operator.definitions import definitions
from tenantry_operator.validation import admit

Schema = dict[str, Any]


def part(kind: str, name: str) -> Schema:
    schema: Schema = definitions()[kind].schema["properties"][name]
    return schema


PAIRS = [
    pytest.param(part("TenantModel", "spec"), TenantModelSpec, id="TenantModel.spec"),
    pytest.param(part("TenantModel", "status"), TenantModelStatus, id="TenantModel.status"),
    pytest.param(part("PredictorPool", "spec"), PredictorPoolSpec, id="PredictorPool.spec"),
    pytest.param(part("PredictorPool", "status"), PredictorPoolStatus, id="PredictorPool.status"),
]


@pytest.mark.parametrize(("schema", "kind"), PAIRS)
def test_schema_and_type_agree(schema: Schema, kind: type[msgspec.Struct]) -> None:
    assert list(differences(schema, kind, kind.__name__)) == []


def differences(schema: Schema, kind: Any, path: str) -> Iterator[str]:
    """Sentences about every field that only one side has, or that the two describe otherwise."""
    kind = without_none(kind)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Literal:
        if schema.get("enum") != list(arguments):
            yield f"{path}: enum {schema.get('enum')} against {arguments}"
    elif origin is tuple:
        if schema["type"] != "array":
            yield f"{path}: {schema['type']} against a list"
        else:
            yield from differences(schema["items"], arguments[0], f"{path}[]")
    elif origin is dict:
        yield from map_differences(schema, arguments[1], path)
    elif isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield from struct_differences(schema, kind, path)
    elif schema.get("type") != {str: "string", int: "integer", bool: "boolean"}[kind]:
        yield f"{path}: {schema.get('type')} against {kind.__name__}"


def struct_differences(schema: Schema, kind: type[msgspec.Struct], path: str) -> Iterator[str]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    hints = get_type_hints(kind)
    properties = schema.get("properties", {})
    if fields.keys() != properties.keys():
        yield f"{path}: only one side has {sorted(fields.keys() ^ properties.keys())}"
    required = {name for name, field in fields.items() if field.required}
    if required != set(schema.get("required", ())):
        yield f"{path}: required {schema.get('required')} against {sorted(required)}"
    for name in fields.keys() & properties.keys():
        field = fields[name]
        yield from default_differences(properties[name], field, f"{path}.{name}")
        yield from differences(properties[name], hints[field.name], f"{path}.{name}")


def default_differences(schema: Schema, field: Any, path: str) -> Iterator[str]:
    """A default of a schema is the type's; an empty value of the type needs none in the schema."""
    if field.required:
        return
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    plain = msgspec.to_builtins(default)
    stated = schema.get("default", plain if not plain else None)
    if stated != plain:
        yield f"{path}: default {schema.get('default')!r} against {plain!r}"


def map_differences(schema: Schema, value: Any, path: str) -> Iterator[str]:
    """What the code passes on as it is (Any) may have a schema of its own; no field is left unchecked."""
    if schema.get("type") != "object":
        yield f"{path}: {schema.get('type')} against a map"
    elif schema.get("x-kubernetes-preserve-unknown-fields"):
        yield f"{path}: takes anything"
    elif value is not Any:
        yield from differences(schema["additionalProperties"], value, f"{path}{{}}")


def without_none(kind: Any) -> Any:
    if get_origin(kind) in (Union, UnionType):
        [kind] = [argument for argument in get_args(kind) if argument is not NoneType]
    return kind


def test_a_field_that_only_one_side_has_is_found() -> None:
    properties = dict(part("TenantModel", "spec")["properties"])
    del properties["residency"]
    schema = {"type": "object", "properties": properties}
    assert any("residency" in sentence for sentence in differences(schema, TenantModelSpec, "spec"))


@pytest.mark.parametrize("kind", definitions())
def test_every_field_reads_as_documentation(kind: str) -> None:
    assert list(undescribed(definitions()[kind].schema, kind)) == []


def undescribed(schema: Schema, path: str) -> Iterator[str]:
    if not path.endswith(".metadata") and not schema.get("description", "").rstrip().endswith("."):
        yield path
    for name, child in schema.get("properties", {}).items():
        if not path.endswith(".metadata"):
            yield from undescribed(child, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from undescribed(schema[name], f"{path}[]")


@pytest.mark.parametrize("path", sorted((crd_directory() / "examples").glob("*.yaml")), ids=lambda p: p.stem)
def test_examples_are_admitted(path: Any) -> None:
    admit(yaml.safe_load(path.read_text()))


@pytest.mark.parametrize("suffix", FORMATS_BY_SUFFIX)
def test_a_suffix_that_tells_the_format_needs_no_format(suffix: str) -> None:
    admit(model({"artifact": {"uri": f"s3://models/acme{suffix}"}}))


@pytest.mark.parametrize("name", SAFE_FORMATS)
def test_a_pool_may_trust_each_safe_format(name: str) -> None:
    admit(
        {
            "apiVersion": API_VERSION,
            "kind": "PredictorPool",
            "metadata": {"name": "default"},
            "spec": {"trust": {"formats": [name]}},
        }
    )


def test_defaults_are_filled_in_as_the_types_read_them() -> None:
    admitted = admit(model({"artifact": {"uri": "s3://models/acme.onnx"}, "users": {"ids": ["1"]}}))
    assert admitted["spec"]["poolRef"] == {"name": "default"}
    given = from_manifest({"artifact": admitted["spec"]["artifact"]}, TenantModelSpec)
    read = from_manifest(admitted["spec"], TenantModelSpec)
    assert (read.pool_ref, read.min_replicas, read.residency) == (
        given.pool_ref,
        given.min_replicas,
        given.residency,
    )


def test_a_slice_as_the_operator_writes_it_is_admitted() -> None:
    entry = Entry("ns.acme", "uid", "2026-01-01T00:00:00Z", 1, "acme", "default")
    content = msgspec.json.decode(msgspec.json.encode(SliceContent((entry,))))
    manifest = {"apiVersion": API_VERSION, "kind": "PlacementSlice", "metadata": {"name": "placement-0-0"}}
    assert from_manifest(admit(manifest | content), SliceContent) == SliceContent((entry,))


def model(spec: Schema) -> Schema:
    return {"apiVersion": API_VERSION, "kind": "TenantModel", "metadata": {"name": "acme"}, "spec": spec}
