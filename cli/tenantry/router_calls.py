"""Requests about a user, and the router's refusals as errors of a command."""

from __future__ import annotations

from tenantry.client import requests
from tenantry.client.answers import Answer
from tenantry.client.requests import Request
from tenantry.errors import ServerError
from tenantry.target import Target


def predict(target: Target, user: str, tenant: str | None, body: bytes, output: str | None) -> Answer:
    """Raises ServerError with the router's own words."""
    return _ask(target, requests.to_predict(user, body, output, _fields(tenant)))


def explain(target: Target, user: str, tenant: str | None) -> Answer:
    """Raises ServerError with the router's own words."""
    return _ask(target, requests.to_explain(user, _fields(tenant)))


def _fields(tenant: str | None) -> dict[str, str]:
    return {} if tenant is None else {requests.TENANT: tenant}


def _ask(target: Target, request: Request) -> Answer:
    answer = target.call(request.method, request.path, request.headers, request.content or None)
    if answer.status < 400:
        return answer
    refusal = answer.refusal()
    wait = "" if refusal.retry_after is None else f" (try again in {refusal.retry_after:g} s)"
    raise ServerError(refusal.reason or str(answer.status), refusal.message + wait)
