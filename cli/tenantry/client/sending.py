"""Requests as httpx takes them, its responses and its errors as ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tenantry.client.answers import Answer
from tenantry.client.errors import DeadlineExceeded, Unreachable
from tenantry.client.requests import Request


def base_url(url: str) -> str:
    """Raises ValueError for what is no address of a router."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(f"{url!r} is no URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError(f"{url!r} is no URL of a router: write it like http://127.0.0.1:8080")
    return url.rstrip("/")


def arguments(base: str, request: Request) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": base + request.path,
        "headers": request.headers,
        "content": request.content or None,
        "timeout": request.seconds,
    }


def answer_of(response: httpx.Response) -> Answer:
    return Answer(response.status_code, response.headers, response.content)


@contextmanager
def translated(base: str, request: Request) -> Iterator[None]:
    try:
        yield
    except httpx.TimeoutException as error:
        raise DeadlineExceeded(f"{base} did not answer within {request.seconds:.3g} s.") from error
    except httpx.HTTPError as error:
        raise Unreachable(f"{base} does not answer ({error}): is the router up there?") from error
