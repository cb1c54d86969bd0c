"""One HTTP request to a router, with its failures in words."""

from __future__ import annotations

from collections.abc import Mapping

import httpx

from tenantry.client.answers import Answer
from tenantry.errors import CommandError

_TIMEOUT = httpx.Timeout(60.0, connect=5.0)
"""Seconds. The router's own deadline is shorter: it is what ends a request."""


def call_url(url: str, method: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
    """Raises CommandError when nothing answers there."""
    try:
        with httpx.Client(timeout=_TIMEOUT, trust_env=False) as client:
            response = client.request(method, url, headers=dict(headers), content=body)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(f"{url} does not answer ({error}): is the router up there?") from error
    return Answer(response.status_code, dict(response.headers), response.content)
