"""A slot knows a model as `namespace.name`; its metadata is told under the name that the caller would use."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tenantry_core.http.messages import Reply, Response


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
        if response.status == 200:
            document = msgspec.json.decode(response.body, type=dict[str, msgspec.Raw])
            document["name"] = msgspec.Raw(msgspec.json.encode(self._name))
            response = response._replace(body=msgspec.json.encode(document))
        self._reply.send(response)
