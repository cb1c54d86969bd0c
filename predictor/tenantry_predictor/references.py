"""Which artifact a request means: from the router's header fields, or from the body of a load."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from tenantry_core import wire
from tenantry_core.artifacts import USER_PLACEHOLDER, default_format, substitute_user
from tenantry_core.names import is_model_key, is_tenant, is_user_id
from tenantry_core.problems import Problem
from tenantry_predictor.policy import Policy
from tenantry_predictor.repositories.base import Source

_SHA256 = re.compile(r"[0-9a-f]{64}")
_REMEMBERED = 8192
UNPINNED = "-"


class References:
    """Reads references and admits them by the policy; the ones seen before cost one look-up."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._sources: dict[tuple[bytes | None, ...], Source] = {}

    def from_fields(self, fields: Mapping[bytes, bytes]) -> Source:
        """Raises Problem (400) for a missing or malformed field, LoadError for one that is refused."""
        get = fields.get
        raw = (get(wire.MODEL), get(wire.VERSION), get(wire.ARTIFACT), get(wire.FORMAT), get(wire.TENANT))
        source = self._sources.get(raw)
        if source is None:
            source = self._read(*(None if value is None else value.decode("latin-1") for value in raw))
            if len(self._sources) >= _REMEMBERED:
                self._sources.clear()
            self._sources[raw] = source
        return source

    def from_load(self, model: str, request: wire.LoadRequest) -> Source:
        """Of `POST .../load` and `unload`; `probeUser` is put in where the URI asks for a user."""
        reference = request.reference
        uri = reference.uri
        if USER_PLACEHOLDER in uri:
            if not is_user_id(request.probe_user):
                raise _malformed("The artifact is one per user: name a probeUser whose artifact to load.")
            uri = substitute_user(uri, request.probe_user)
        return self._admit(model, request.tenant, uri, reference.format, reference.sha256)

    def _read(
        self,
        model: str | None,
        version: str | None,
        artifact: str | None,
        model_format: str | None,
        tenant: str | None,
    ) -> Source:
        if model is None or artifact is None or tenant is None:
            raise _malformed(
                "Tenantry-Model, Tenantry-Tenant and Tenantry-Artifact say what to load; one is missing."
            )
        try:
            uri = unquote_to_bytes(artifact).decode()
            stated = unquote_to_bytes(model_format or "").decode()
        except UnicodeDecodeError as error:
            raise _malformed("Tenantry-Artifact and Tenantry-Format are percent-encoded UTF-8.") from error
        digest = "" if version in (None, UNPINNED) else version or ""
        return self._admit(model, tenant, uri, stated, digest)

    def _admit(self, model: str, tenant: str, uri: str, model_format: str, sha256: str) -> Source:
        if not is_model_key(model):
            raise _malformed(f"{model!r} is no model: expected namespace.name.")
        if not is_tenant(tenant):
            raise _malformed(f"{tenant!r} is no tenant.")
        if sha256 and not _SHA256.fullmatch(sha256):
            raise _malformed(f"{sha256!r} is no version: expected the 64 hex digits of a SHA-256, or -.")
        source = Source(model, tenant, uri, model_format or default_format(uri) or "", sha256)
        self._policy.check(source)
        return source


def _malformed(message: str) -> Problem:
    return Problem(400, message, reason="Malformed")
