"""Metadata under the caller's name; what is no metadata must not leave the caller without an answer."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tenantry_core.http.messages import Response
from tenantry_router.renaming import Renaming


class Kept:
    """A reply that keeps its answer."""

    on_disconnect: Callable[[], None] | None = None

    def send(self, response: Response) -> None:
        self.answer = response


def renamed(status: int, body: bytes) -> Response:
    reply = Kept()
    Renaming(reply, "acme").send(Response(status, (), body))
    return reply.answer


def test_only_the_name_changes() -> None:
    answer = renamed(200, b'{"name": "models.acme", "versions": ["1"]}')
    assert (answer.status, json.loads(answer.body)) == (200, {"name": "acme", "versions": ["1"]})


def test_a_problem_passes_as_it_is() -> None:
    assert renamed(503, b'{"name": "x"}') == Response(503, (), b'{"name": "x"}')


@pytest.mark.parametrize("body", [b"", b"[1]", b'{"name"', b'{"\xff": 1}'])
def test_what_is_no_metadata_is_a_bad_gateway(body: bytes) -> None:
    assert renamed(200, body).status == 502
