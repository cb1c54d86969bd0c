"""What the operator asks of a predictor over HTTP; every failure says whether it judges the artifact."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import aiohttp
import msgspec

from tenantry_core.slices import Wire
from tenantry_core.wire import TOKEN, LoadReport, LoadRequest, SlotReport
from tenantry_operator.planning.plan import Release
from tenantry_operator.planning.world import SLOT_UNREACHABLE, Check, CheckFailure, Instance

LOAD_TIMEOUT = 120.0
"""Seconds: a large artifact from a slow store; the answer to anything else is short."""
CALL_TIMEOUT = 5.0
CONNECT_TIMEOUT = 2.0
KEPT_OPEN = 5.0
"""Seconds for which an idle connection is kept: far fewer than a predictor keeps it."""
STORAGE_UNAVAILABLE = "StorageUnavailable"
VERDICTS = frozenset(
    {
        "ArtifactNotFound",
        "DigestMismatch",
        "OutsideAllowedStorage",
        "FormatNotTrusted",
        "LoadFailed",
        "ProbeFailed",
    }
)
"""What a predictor says of an artifact. Any other error, a wrong token say, only tells of the slot."""

T = TypeVar("T", bound=Wire)


class _Answer(Wire, frozen=True):
    """The members of a problem document that are read."""

    error: str = ""
    reason: str = ""


class SlotClient:
    """Calls instances by their address. No method raises: what cannot be done is part of the answer.

    `token` is read for every call, so that it can rotate; empty sends none. The client is made within a
    running event loop, and belongs to it.
    """

    def __init__(self, token: Callable[[], str] = str) -> None:
        self._token = token
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEPT_OPEN),
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._http.close()

    async def load(self, instance: Instance, check: Check) -> LoadReport | CheckFailure:
        request = LoadRequest(check.reference, check.tenant, check.pinned, check.verify, check.probe_user)
        path = f"/v2/repository/models/{check.model}/load"
        return await self._call("POST", instance, path, LoadReport, request, LOAD_TIMEOUT)

    async def release(self, instance: Instance, release: Release) -> CheckFailure | None:
        request = LoadRequest(release.reference, release.tenant)
        path = f"/v2/repository/models/{release.model}/unload"
        return await self._tell(instance, path, request)

    async def turn_ready(self, instance: Instance) -> CheckFailure | None:
        return await self._tell(instance, "/v2/slot/ready", None)

    async def report(self, instance: Instance) -> SlotReport | CheckFailure:
        return await self._call("GET", instance, "/v2/slot", SlotReport, None, CALL_TIMEOUT)

    async def _tell(self, instance: Instance, path: str, body: Wire | None) -> CheckFailure | None:
        answer = await self._send("POST", instance, path, body, CALL_TIMEOUT)
        return answer if isinstance(answer, CheckFailure) else None

    async def _call(
        self, method: str, instance: Instance, path: str, kind: type[T], body: Wire | None, timeout: float
    ) -> T | CheckFailure:
        answer = await self._send(method, instance, path, body, timeout)
        if isinstance(answer, CheckFailure):
            return answer
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            return _unreachable(instance, f"answered something else than a predictor does: {error}")

    async def _send(
        self, method: str, instance: Instance, path: str, body: Wire | None, timeout: float
    ) -> bytes | CheckFailure:
        """The body of a good answer, or why there is none."""
        host = f"[{instance.host}]" if ":" in instance.host else instance.host
        headers = {"content-type": "application/json"}
        if token := self._token():
            headers[TOKEN.decode()] = token
        request = self._http.request(
            method,
            f"http://{host}:{instance.port}{path}",
            data=b"" if body is None else msgspec.json.encode(body),
            headers=headers,
            timeout=aiohttp.ClientTimeout(sock_connect=CONNECT_TIMEOUT, sock_read=timeout),
            allow_redirects=False,
        )
        try:
            async with request as response:
                content = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:  # ValueError: of the token
            return _unreachable(instance, _sentence(error))
        return content if 200 <= response.status < 300 else _failure(instance, response.status, content)


def _failure(instance: Instance, status: int, content: bytes) -> CheckFailure:
    try:
        answer = msgspec.json.decode(content, type=_Answer)
    except msgspec.DecodeError:
        answer = _Answer()
    # Statuses join it with more, as parts of one sentence.
    error = answer.error.removesuffix(".")
    if answer.reason in VERDICTS:
        return CheckFailure(answer.reason, error, transient=False)
    if answer.reason == STORAGE_UNAVAILABLE:
        return CheckFailure(answer.reason, error, transient=True)
    return _unreachable(instance, error or f"answered HTTP {status}")


def _sentence(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and error.os_error.errno is not None:
        return os.strerror(error.os_error.errno)  # its own sentence has the address, twice
    return str(error) or type(error).__name__


def _unreachable(instance: Instance, why: str) -> CheckFailure:
    return CheckFailure(SLOT_UNREACHABLE, f"{instance.host}:{instance.port}: {why}", transient=True)
