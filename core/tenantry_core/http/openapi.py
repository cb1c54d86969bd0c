"""What FastAPI cannot know of the routes it describes: bodies that handlers read themselves, and that every
error is a problem document of one form.
"""

from __future__ import annotations

from typing import Any

import fastapi
import msgspec

from tenantry_core.names import LABEL_PATTERN, TENANT_PATTERN
from tenantry_core.problems import MEDIA_TYPE

_PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457, with the Open Inference Protocol's `error` beside `detail`: one sentence.",
    "type": "object",
    "required": ["title", "status", "detail", "error"],
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "detail": {"type": "string"},
        "error": {"type": "string"},
        "reason": {"type": "string", "description": "A word that a program can act on."},
    },
}
_RETRY_AFTER = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}}
_CONTENT = {MEDIA_TYPE.decode(): {"schema": {"$ref": "#/components/schemas/Problem"}}}
_PROBLEMS = {
    "4XX": {"description": "What is wrong with the request.", "content": _CONTENT},
    "5XX": {"description": "It was not served, and why.", "content": _CONTENT, "headers": _RETRY_AFTER},
}
_METHODS = ("get", "put", "post", "delete")


TENANT_ID = rf"(?!\.{{1,2}}$){TENANT_PATTERN}"
USER_ID = r"(?!\.{1,2}(:|$))[A-Za-z0-9._~@-]{1,63}(:(?!\.{1,2}$)[A-Za-z0-9._~:@-]{1,64})?"
MODEL_KEY = rf"{LABEL_PATTERN}\.{LABEL_PATTERN}"
MODEL_NAME = rf"{LABEL_PATTERN}(\.{LABEL_PATTERN})?"
DURATION = "[1-9][0-9]{0,5}(ms|s)"

_REF = "#/components/schemas/{name}"


def header(name: str, description: str, pattern: str, *, required: bool = False) -> dict[str, Any]:
    """A parameter of a route; `pattern` is of the whole value."""
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", "pattern": f"^{pattern}$"},
    }


def path_parameters(path: str, **patterns: str) -> list[dict[str, Any]]:
    """Those of a route whose handler has no signature that FastAPI could read; `patterns` by name."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": f"^{patterns[name]}$"},
        }
        for name in names
    ]


def table_operation(*parameters: dict[str, Any]) -> dict[str, Any]:
    """`/predict`: records, rows, columns or a split table in; a list out."""
    table = {"anyOf": [{"type": "array", "minItems": 1}, {"type": "object", "minProperties": 1}]}
    output = {
        "name": "output",
        "in": "query",
        "required": False,
        "description": "Another output of the model than its first.",
        "schema": {"type": "string"},
    }
    return {
        "parameters": [*parameters, output],
        "requestBody": {"content": {"application/json": {"schema": table}}, "required": True},
        "responses": {"200": _json("One prediction a row.", {"type": "array"})},
    }


def inference_operation(*parameters: dict[str, Any]) -> dict[str, Any]:
    """The Open Inference Protocol's inference, in JSON or with binary tensors behind it."""
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    answer = {
        "type": "object",
        "required": ["model_name", "model_version", "outputs"],
        "properties": {"outputs": {"type": "array", "items": {"type": "object"}}},
    }
    return {
        "parameters": list(parameters),
        "requestBody": {
            "content": {"application/json": {"schema": _INFERENCE}} | binary,
            "required": True,
        },
        "responses": {"200": _with(_json("The outputs.", answer), binary)},
    }


def metadata_operation(*parameters: dict[str, Any]) -> dict[str, Any]:
    """The protocol's metadata of a model."""
    names = ("name", "versions", "platform", "inputs", "outputs")
    answer = {"type": "object", "required": list(names)}
    return {
        "parameters": list(parameters),
        "responses": {"200": _json("Inputs and outputs, with types and shapes.", answer)},
    }


def struct_operation(takes: type[Any] | None, gives: type[Any] | None) -> dict[str, Any]:
    """A JSON body that is decoded into `takes`, and an answer that is encoded from `gives`."""
    operation: dict[str, Any] = {}
    if takes is not None:
        content = {"application/json": {"schema": {"$ref": _REF.format(name=takes.__name__)}}}
        operation["requestBody"] = {"content": content, "required": True}
    if gives is not None:
        operation["responses"] = {"200": _json("Done.", {"$ref": _REF.format(name=gives.__name__)})}
    return operation


def describe(app: fastapi.FastAPI, *types: type[Any]) -> None:
    """Let the description of `app` say what its errors are, in place of the validation errors that FastAPI
    would answer; `types` are those that `struct_operation` names.
    """
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = plain()
            for path in document["paths"].values():
                for method in path.keys() & _METHODS:
                    _complete(path[method])
            schemas = document.setdefault("components", {}).setdefault("schemas", {})
            for name in ("HTTPValidationError", "ValidationError"):
                schemas.pop(name, None)
            schemas["Problem"] = _PROBLEM
            schemas |= msgspec.json.schema_components(types, ref_template=_REF)[1]
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign] # FastAPI's own way to change it


def _complete(operation: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)
    operation["responses"] |= _PROBLEMS
    # Where FastAPI read a parameter too, ours says more.
    parameters = {(given["name"], given["in"]): given for given in operation.get("parameters", ())}
    operation["parameters"] = list(parameters.values())


_INFERENCE = {
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "inputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "shape", "datatype", "data"],
                "properties": {
                    "name": {"type": "string"},
                    "shape": {"type": "array", "items": {"type": "integer"}},
                    "datatype": {"type": "string"},
                    "data": {"type": "array"},
                },
            },
        },
        "outputs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "properties": {"name": {"type": "string"}},
            },
        },
    },
}


def _json(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _with(answer: dict[str, Any], content: dict[str, Any]) -> dict[str, Any]:
    return answer | {"content": answer["content"] | content}
