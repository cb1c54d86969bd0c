"""A plain client of the API server: manifests in, manifests out, errors as the server words them."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx

OWN = "/apis/tenantry.dev/v1alpha1"
_SECONDS = 60.0
"""Deleting a thousand objects is one request."""


class ApiError(Exception):
    """What the API server answered instead: its status object."""

    def __init__(self, status: int, answer: dict[str, Any]) -> None:
        super().__init__(answer.get("message", f"HTTP {status}"))
        self.status = status
        self.causes: list[dict[str, str]] = (answer.get("details") or {}).get("causes") or []


class Kube:
    """Acts as the user of a kubeconfig that holds a token."""

    def __init__(self, kubeconfig: Path) -> None:
        config = json.loads(kubeconfig.read_text())
        [cluster], [user] = config["clusters"], config["users"]
        self._http = httpx.Client(
            base_url=cluster["cluster"]["server"],
            headers={"Authorization": f"Bearer {user['user']['token']}"},
            verify=ssl.create_default_context(cafile=cluster["cluster"]["certificate-authority"]),
            timeout=_SECONDS,
            trust_env=False,
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **params: str) -> dict[str, Any]:
        return self._send("GET", path, None, params)

    def items(self, path: str, **params: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(path, **params)["items"] or []
        return found

    def create(self, path: str, manifest: dict[str, Any], **params: str) -> dict[str, Any]:
        return self._send("POST", path, manifest, params)

    def replace(self, path: str, manifest: dict[str, Any], **params: str) -> dict[str, Any]:
        return self._send("PUT", path, manifest, params)

    def merge(self, path: str, patch: dict[str, Any]) -> dict[str, Any]:
        return self._send("PATCH", path, patch, {}, "application/merge-patch+json")

    def apply(self, path: str, manifest: dict[str, Any]) -> dict[str, Any]:
        params = {"fieldManager": "test", "force": "true"}
        return self._send("PATCH", path, manifest, params, "application/apply-patch+yaml")

    def delete(self, path: str) -> None:
        self._send("DELETE", path, None, {})

    def _send(
        self,
        method: str,
        path: str,
        body: dict[str, Any] | None,
        params: dict[str, str],
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        content = None if body is None else json.dumps(body)
        answer = self._http.request(
            method, path, content=content, params=params, headers={"Content-Type": content_type}
        )
        if answer.is_error:
            raise ApiError(answer.status_code, _status_object(answer))
        document: dict[str, Any] = answer.json()
        return document


def _status_object(answer: httpx.Response) -> dict[str, Any]:
    """A server that is starting refuses in plain words."""
    try:
        document: dict[str, Any] = answer.json()
    except ValueError:
        return {"message": answer.text.strip()}
    return document
