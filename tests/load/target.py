"""Where load may go: this machine only."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

RequestFactory = Callable[[int], bytes]
"""The bytes of the nth request."""


class NotOurs(ValueError):
    """The address belongs to somebody else."""


@dataclass(frozen=True)
class Target:
    """An address of this machine."""

    host: str
    port: int

    @classmethod
    def parse(cls, url: str, own: tuple[str, ...] = ()) -> Target:
        """The address in `url`; NotOurs unless it is loopback, or one of `own` and really of this machine."""
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 80
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
        if not ipaddress.ip_address(address).is_loopback:
            if address not in own:
                raise NotOurs(f"{address} is not loopback and was not named as an address of this machine.")
            _require_local(str(address))
        return cls(str(address), port)


def _require_local(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError as error:
            raise NotOurs(f"{address} is not an address of this machine.") from error


def post(path: str, body: bytes, headers: dict[str, str] | None = None, *, host: str = "localhost") -> bytes:
    """A whole POST request with a JSON content type."""
    fields = {"Host": host, "Content-Type": "application/json", "Content-Length": str(len(body))}
    lines = [
        f"POST {path} HTTP/1.1",
        *(f"{name}: {value}" for name, value in (fields | (headers or {})).items()),
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def post_json(path: str, document: object, headers: dict[str, str] | None = None) -> bytes:
    """`post` of a document as JSON."""
    return post(path, json.dumps(document).encode(), headers)
