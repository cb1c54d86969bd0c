"""Requests about a user, and the router's refusals as errors of a command."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, urlencode

import msgspec

from tenantry.errors import ServerError
from tenantry.target import Answer, Target


class _Problem(msgspec.Struct):
    error: str = ""
    detail: str = ""
    reason: str = ""
    title: str = ""


def ask(
    target: Target,
    method: str,
    route: str,
    user: str,
    tenant: str | None,
    *,
    query: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> Answer:
    """`/<route>/<user>`. Raises ServerError with the router's own words."""
    path = f"/{route}/{quote(user, safe='')}" + (f"?{urlencode(query)}" if query else "")
    headers = {} if body is None else {"Content-Type": "application/json"}
    if tenant is not None:
        headers["Tenantry-Tenant"] = tenant
    answer = target.call(method, path, headers, body)
    if answer.status >= 400:
        raise _refusal(answer)
    return answer


def _refusal(answer: Answer) -> ServerError:
    try:
        problem = msgspec.json.decode(answer.body, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem(error=answer.body.decode(errors="replace")[:1000])
    sentence = problem.error or problem.detail or f"HTTP {answer.status}"
    wait = answer.headers.get("retry-after")
    if wait is not None:
        sentence += f" (try again in {wait} s)"
    return ServerError(problem.reason or problem.title.replace(" ", "") or str(answer.status), sentence)
