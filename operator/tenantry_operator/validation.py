"""What the API server does with a manifest, without one: defaults, schema, rules, and its words.

The same CustomResourceDefinitions decide in both places. The path of a refused field and the sentence of
a rule are the API server's; of other schema errors the words are close to it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import celpy
from celpy.adapter import json_to_cel
from jsonschema import Draft202012Validator
from jsonschema import ValidationError as SchemaError

from tenantry_operator.definitions import Definition, Schema, definition_of, definitions

_STOP_BEFORE_RULES = frozenset({"type", "required", "enum", "maxLength", "maxItems", "maxProperties"})
"""After these the API server evaluates no rule, since rules rely on them."""

_TYPE_NAMES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


@dataclass(frozen=True, slots=True)
class FieldError:
    """One reason why a manifest is refused."""

    path: str
    """`spec.users.ids[1]`."""
    message: str
    """`Invalid value: "a/b": a user id consists of ...`"""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


class InvalidManifest(ValueError):
    """The manifest is refused; `errors` says why, and the message is what kubectl would print."""

    def __init__(self, kind: str, name: str, errors: list[FieldError]) -> None:
        lines = str(errors[0]) if len(errors) == 1 else "".join(f"\n* {error}" for error in errors)
        super().__init__(f'The {kind} "{name}" is invalid: {lines}')
        self.errors = errors


def admit(manifest: dict[str, Any], old: dict[str, Any] | None = None) -> dict[str, Any]:
    """The manifest with its defaults, as the API server would store it.

    `old` is what is stored under the same name now; rules about changes compare with it. Status is
    kept as it is given.

    Raises UnknownKind and InvalidManifest.
    """
    definition = definition_of(manifest)
    completed = copy.deepcopy(manifest)
    errors = list(_unknown_fields(manifest, definition.schema, ""))
    if not errors:
        _apply_defaults(completed, definition.schema)
        errors = _check(completed, old, definition)
    if errors:
        metadata = manifest.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, dict) else ""
        raise InvalidManifest(definition.kind, str(name), errors)
    return completed


def _check(manifest: dict[str, Any], old: dict[str, Any] | None, definition: Definition) -> list[FieldError]:
    metadata = manifest.get("metadata")
    if not isinstance(metadata, dict) or not metadata.get("name"):
        return [FieldError("metadata.name", "Required value: name or generateName is required")]
    schema_errors = list(_validator(definition.kind).iter_errors(manifest))
    errors = list(dict.fromkeys(e for error in schema_errors for e in _translate(error)))
    errors += _duplicates(manifest, definition.schema, "")
    if not any(error.validator in _STOP_BEFORE_RULES for error in schema_errors):
        errors += _broken_rules(manifest, old, definition.schema, "")
    return errors


@cache
def _validator(kind: str) -> Draft202012Validator:
    return Draft202012Validator(definitions()[kind].schema)


# Walking a structural schema: each value beside the schema of that value.


def _children(value: Any, schema: Schema) -> Iterator[tuple[str | int, Any, Schema]]:
    """Key, value and schema of each member that the schema describes."""
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        for key, member in value.items():
            if key in properties:
                yield key, member, properties[key]
            elif isinstance(others, dict):
                yield key, member, others
    elif isinstance(value, list) and "items" in schema:
        for index, item in enumerate(value):
            yield index, item, schema["items"]


def _join(path: str, key: str | int) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}.{key}" if path else key


def _apply_defaults(value: Any, schema: Schema) -> None:
    if isinstance(value, dict):
        for key, child in schema.get("properties", {}).items():
            if "default" in child and value.get(key) is None:
                value[key] = copy.deepcopy(child["default"])
    for _, member, child in _children(value, schema):
        _apply_defaults(member, child)


def _unknown_fields(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    """kubectl's strict reading: a misspelt field is refused, not dropped. Metadata is Kubernetes' own."""
    properties = schema.get("properties")
    free = schema.get("x-kubernetes-preserve-unknown-fields", False)
    if isinstance(value, dict) and properties is not None and not free and path != "metadata":
        for key in value.keys() - properties.keys():
            yield FieldError(_join(path, key), f'unknown field "{_join(path, key)}"')
    for key, member, child in _children(value, schema):
        yield from _unknown_fields(member, child, _join(path, key))


def _duplicates(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    """Items of a set, and keys of a list-map, that occur again."""
    kind = schema.get("x-kubernetes-list-type", "atomic")
    if isinstance(value, list) and kind != "atomic":
        seen = set()
        for index, item in enumerate(value):
            identity = _shown(_identity(item, schema))
            if identity in seen:
                yield FieldError(_join(path, index), f"Duplicate value: {identity}")
            seen.add(identity)
    for key, member, child in _children(value, schema):
        yield from _duplicates(member, child, _join(path, key))


def _identity(item: Any, schema: Schema) -> Any:
    keys = schema.get("x-kubernetes-list-map-keys")
    return {key: item.get(key) for key in keys} if keys and isinstance(item, dict) else item


# Rules


@cache
def _program(rule: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(environment.compile(rule))


def _broken_rules(value: Any, old: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    """Rules of a value before those of its members. A rule with oldSelf needs an old value."""
    for rule in schema.get("x-kubernetes-validations", ()):
        if "oldSelf" in rule["rule"] and old is None:
            continue
        if not _holds(rule["rule"], value, old):
            where = _join(path, rule["fieldPath"][1:]) if "fieldPath" in rule else path
            shown = "" if isinstance(value, dict | list) else f"{_shown(value)}: "
            yield FieldError(where, f"Invalid value: {shown}{rule['message']}")
    for key, member, child in _children(value, schema):
        before = old.get(key) if isinstance(old, dict) else None
        yield from _broken_rules(member, before, child, _join(path, key))


def _holds(rule: str, value: Any, old: Any) -> bool:
    return bool(_program(rule).evaluate({"self": json_to_cel(value), "oldSelf": json_to_cel(old)}))


# Words


def _translate(error: SchemaError) -> Iterator[FieldError]:
    """One error of jsonschema in the API server's words; each missing field has one of its own."""
    path = ""
    for key in error.absolute_path:
        path = _join(path, key)
    if error.validator == "required":
        required: Any = error.validator_value
        instance: Any = error.instance
        for field in required:
            if field not in instance:
                yield FieldError(_join(path, field), "Required value")
        return
    yield FieldError(path, _sentence(error, path))


def _sentence(error: SchemaError, path: str) -> str:
    value: Any = error.instance
    limit: Any = error.validator_value
    match error.validator:
        case "type":
            name = _TYPE_NAMES.get(type(value), "null")
            return f'Invalid value: "{name}": {path} in body must be of type {limit}: "{name}"'
        case "enum":
            choices = ", ".join(_shown(choice) for choice in limit)
            return f"Unsupported value: {_shown(value)}: supported values: {choices}"
        case "maxLength":
            return f"Too long: may not be more than {limit} bytes"
        case "maxItems" | "maxProperties":
            return f"Too many: {len(value)}: must have at most {limit} items"
    words = {
        "minimum": f"should be greater than or equal to {limit}",
        "maximum": f"should be less than or equal to {limit}",
        "minLength": f"should be at least {limit} chars long",
        "pattern": f"should match '{limit}'",
        "anyOf": "must validate at least one schema (anyOf)",
    }
    return f"Invalid value: {_shown(value)}: {path} in body {words[str(error.validator)]}"


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
