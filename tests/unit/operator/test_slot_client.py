"""Calls to predictors: what is sent, and how what goes wrong is told."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from tenantry_core.slices import Reference
from tenantry_core.wire import LoadReport
from tenantry_operator.planning.world import Check, CheckFailure, Instance
from tenantry_operator.reconciling.slot_client import SlotClient
from unit.operator.running import run

REFERENCE = Reference("s3://models/acme.onnx", "onnx", "ab" * 32)
CHECK = Check("ns.acme", "uid", 1, "", "default-0", "i", REFERENCE, "acme", verify=True, probe_user="42")


async def answered(
    answer: bytes, call: Callable[[SlotClient, Instance], Awaitable[object]]
) -> tuple[object, bytes]:
    """What the client makes of raw bytes from a server, and what it sent."""
    sent = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent.extend(await reader.readuntil(b"\r\n\r\n"))
        length = next(
            (int(h[16:]) for h in sent.lower().split(b"\r\n") if h.startswith(b"content-length: ")), 0
        )
        sent.extend(await reader.readexactly(length))
        writer.write(answer)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = SlotClient(lambda: "secret")
    async with server:
        outcome = await call(client, Instance("i", "127.0.0.1", port, ready=True))
    await client.close()
    return outcome, bytes(sent)


async def loaded(answer: bytes) -> LoadReport | CheckFailure:
    outcome, _ = await answered(answer, lambda client, instance: client.load(instance, CHECK))
    assert isinstance(outcome, LoadReport | CheckFailure)
    return outcome


def response(status: str, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b" % (
        status.encode(),
        len(body),
        body,
    )


@run
async def test_a_load_names_model_tenant_reference_and_token() -> None:
    body = b'{"sha256":"%b","sizeBytes":7,"loadMilliseconds":1.5,"engine":"onnx"}' % (b"ab" * 32)
    outcome, sent = await answered(response("200 OK", body), lambda c, i: c.load(i, CHECK))
    assert outcome == LoadReport("ab" * 32, 7, 1.5, "onnx")
    assert sent.startswith(b"POST /v2/repository/models/ns.acme/load HTTP/1.1\r\n")
    assert b"\r\ntenantry-token: secret\r\n" in sent.lower()
    assert b'"verify":true' in sent
    assert b'"probeUser":"42"' in sent
    assert b'"tenant":"acme"' in sent


@pytest.mark.parametrize(
    ("answer", "reason", "transient"),
    [
        (
            response("404 Not Found", b'{"error":"no such object","reason":"ArtifactNotFound"}'),
            "ArtifactNotFound",
            False,
        ),
        (response("422 x", b'{"error":"other bytes","reason":"DigestMismatch"}'), "DigestMismatch", False),
        (
            response("503 x", b'{"error":"slow store","reason":"StorageUnavailable"}'),
            "StorageUnavailable",
            True,
        ),
        (response("503 x", b'{"error":"busy"}'), "SlotUnreachable", True),
        (response("404 Not Found", b"<html>who are you?</html>"), "SlotUnreachable", True),
        (response("401 x", b'{"error":"wrong token","reason":"Unauthorized"}'), "SlotUnreachable", True),
        (response("200 OK", b"not json"), "SlotUnreachable", True),
        (response("200 OK", b'{"sha256":1}'), "SlotUnreachable", True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "SlotUnreachable", True),
        (b"", "SlotUnreachable", True),
    ],
)
def test_only_what_is_said_of_an_artifact_judges_it(answer: bytes, reason: str, transient: bool) -> None:
    outcome = asyncio.run(loaded(answer))
    assert isinstance(outcome, CheckFailure)
    assert (outcome.reason, outcome.transient) == (reason, transient)
    assert outcome.message


@run
async def test_nobody_there_is_said_with_the_address_once() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    client = SlotClient()
    outcome = await client.load(Instance("i", "127.0.0.1", port, ready=True), CHECK)
    await client.close()
    assert isinstance(outcome, CheckFailure)
    assert outcome.transient
    assert outcome.message.startswith(f"127.0.0.1:{port}: ")
    assert outcome.message.count("127.0.0.1") == 1


@run
async def test_a_token_that_is_no_header_value_is_said() -> None:
    client = SlotClient(lambda: "one\r\ntwo")
    outcome = await client.load(Instance("i", "127.0.0.1", 9, ready=True), CHECK)
    await client.close()
    assert isinstance(outcome, CheckFailure)
    assert outcome.transient
