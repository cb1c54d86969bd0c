"""The few requests to the API server that bringing it up takes."""

from __future__ import annotations

import json
import ssl
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import HTTPSHandler, ProxyHandler, Request, build_opener

from cluster.errors import StartError

_SECONDS = 5.0


class ApiClient:
    """Talks to one API server with a bearer token."""

    def __init__(self, url: str, token: str, authority: Path) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._authority = authority

    def read(self, path: str) -> str | None:
        """What a GET of the path answers; None where it fails, also while there is no server."""
        try:
            return self._send("GET", path, None)
        except (OSError, HTTPException):  # urllib's errors are OSErrors
            return None

    def create(self, path: str, manifest: dict[str, Any]) -> None:
        """Creates an object in the collection."""
        try:
            self._send("POST", path, json.dumps(manifest).encode())
        except (OSError, HTTPException) as error:
            raise StartError(f"{manifest['kind']} could not be created: {error}") from error

    def _send(self, method: str, path: str, body: bytes | None) -> str:
        # The certificate is made by the server when it first starts, so it is read with each request.
        context = ssl.create_default_context(cafile=self._authority)
        opener = build_opener(ProxyHandler({}), HTTPSHandler(context=context))
        request = Request(self._url + path, body, self._headers, method=method)
        with opener.open(request, timeout=_SECONDS) as answer:
            content: bytes = answer.read()
        return content.decode()
