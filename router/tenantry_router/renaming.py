"""A slot knows a model as `namespace.name`; its metadata is told under the name that the caller would use."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tenantry_core.http.encoding import problem_response
from tenantry_core.http.messages import Reply, Response
from tenantry_core.problems import Problem


class Renaming:
    """A `Reply` that puts another `name` into a JSON document on its way to the client."""

    def __init__(self, reply: Reply, name: str) -> None:
        self._reply = reply
        self._name = name

    @property
    def on_disconnect(self) -> Callable[[], None] | None:
        return self._reply.on_disconnect

    @on_disconnect.setter
    def on_disconnect(self, callback: Callable[[], None] | None) -> None:
        self._reply.on_disconnect = callback

    def send(self, response: Response) -> None:
        self._reply.send(self._renamed(response) if response.status == 200 else response)

    def _renamed(self, response: Response) -> Response:
        try:
            document = msgspec.json.decode(response.body, type=dict[str, msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return problem_response(
                Problem(502, "The predictor's metadata is no JSON object.", reason="BadGateway")
            )
        document["name"] = msgspec.Raw(msgspec.json.encode(self._name))
        return response._replace(body=msgspec.json.encode(document))
