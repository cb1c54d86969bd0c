"""Requests to a router, without sending them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

TENANT = "Tenantry-Tenant"
USER = "Tenantry-User"
TIMEOUT = "Tenantry-Timeout"


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    headers: Mapping[str, str]
    content: bytes = b""
    seconds: float = 0.0
    """For one attempt, from now."""


def to_predict(user: str, body: bytes, output: str | None, fields: Mapping[str, str]) -> Request:
    query = f"?{urlencode({'output': output})}" if output else ""
    json = {"Content-Type": "application/json"}
    return Request("POST", f"/predict/{quote(user, safe='')}{query}", {**fields, **json}, body)


def to_explain(user: str, fields: Mapping[str, str]) -> Request:
    return Request("GET", f"/explain/{quote(user, safe='')}", fields)


def of_model(model: str, version: str | None = None) -> str:
    """The path of a model's resource in the Open Inference Protocol."""
    path = f"/v2/models/{quote(model, safe='')}"
    return path if version is None else f"{path}/versions/{quote(version, safe='')}"
