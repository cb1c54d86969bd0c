"""Bytes of one connection -> whole requests within the limits, or the problem that ends the connection."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import httptools

from tenantry_core.http.encoding import CLOSE, IMPLICIT, KEEP_ALIVE
from tenantry_core.http.limits import Budget, Limits
from tenantry_core.http.messages import Request
from tenantry_core.problems import Problem

NEVER = math.inf
Deliver = Callable[[Request, bytes], None]
"""Takes a request and the Connection field of its answer. Its body's bytes are taken from the budget."""


class RequestReader:
    """httptools' callbacks. llhttp refuses most of what smuggles requests; what it lets pass is refused here.

    One instance reads one connection. `deliver` is called from within `feed`, in the order of arrival.
    """

    __slots__ = (
        "_body",
        "_budget",
        "_deliver",
        "_fed",
        "_has_connection",
        "_headers",
        "_hosts",
        "_length",
        "_limits",
        "_method",
        "_parser",
        "_path",
        "_persistence",
        "_progress",
        "_query",
        "_size",
        "_target",
        "_transfer_encoding",
        "_unparsed",
        "_upgrading",
        "deadline",
        "ended",
        "in_body",
        "now",
        "wants_continue",
    )

    def __init__(self, limits: Limits, budget: Budget, deliver: Deliver) -> None:
        self._limits = limits
        self._budget = budget
        self._deliver = deliver
        self._parser = self._new_parser()
        self._fed = 0
        self._unparsed = 0
        self._progress = False
        self._size = 0
        self.now = 0.0
        self.deadline = NEVER
        """The loop's time at which the request that is being read is too slow; NEVER between requests."""
        self.ended = False
        """The client asked for the connection to be closed after its last request; more is not read."""
        self._reset()

    def _new_parser(self) -> Any:
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # such data is ignored, see `ended`
        return parser

    def _reset(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._hosts = 0
        self._length = 0
        self._transfer_encoding = False
        self._has_connection = False
        self.in_body = False
        """The header is complete, the body is not."""
        self._upgrading = False
        self._body: bytes | list[bytes] = b""
        self.wants_continue = False

    @property
    def reading(self) -> bool:
        """Part of a request has arrived."""
        return self.in_body or self._target != b""

    def feed(self, data: bytes, now: float) -> None:
        """Parse what arrived at the loop's time `now`. After a Problem the connection can only be closed."""
        self.now = now
        self._fed = len(data)
        self._progress = False
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_again(data, upgrade)
        except httptools.HttpParserError as error:
            raise _problem(error) from error
        if self._progress:
            self._unparsed = 0
        else:
            self._bound_unparsed()
        if (self._target or not self._progress) and self.deadline is NEVER and not self.ended:
            self.deadline = now + self._limits.header_timeout

    def _feed_again(self, data: bytes, upgrade: httptools.HttpParserUpgrade | None) -> None:
        """Parse `data` once more, without the offers of another protocol."""
        while upgrade is not None:
            data = self._without_upgrade() + data[upgrade.args[0] :]
            upgrade = None
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as another:
                upgrade = another
            except httptools.HttpParserError as error:
                raise _problem(error) from error

    def abandon(self) -> None:
        """Give back what the unfinished request holds; nothing more will be fed."""
        self._budget.give_back(self._size)
        self._size = 0
        self._reset()
        self.deadline = NEVER
        self.ended = True

    def _bound_unparsed(self) -> None:
        """Header fields, trailers and chunk extensions pile up inside the parser before we see them."""
        self._unparsed += self._fed
        if self._unparsed > self._limits.header_bytes:
            raise _too_big_header(self._limits)

    # httptools' callbacks

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_body:
            return  # a trailer: nothing of ours is ever sent there
        name = name.lower()
        value = value.rstrip()
        self._headers.append((name, value))
        if name == b"host":
            self._hosts += 1
        elif name == b"content-length":
            self._length = int(value)
        elif name == b"connection":
            self._has_connection = True
        elif name == b"expect":
            self.wants_continue = value.lower() == b"100-continue"
        elif name == b"transfer-encoding":
            self._transfer_encoding = True
            if value.lower() != b"chunked":
                raise Problem(400, "The only transfer coding that is understood here is chunked.")

    def on_headers_complete(self) -> None:
        if self._has_connection and self._parser.should_upgrade():
            self._upgrading = True
            return
        limits = self._limits
        self._method = self._parser.get_method()
        self._persistence = self._persist()
        if self._hosts != 1:
            self._check_hosts()
        self._split_target()
        if self._length > limits.body_bytes:
            raise _too_big_body(limits)
        if self._fed + self._unparsed > limits.header_bytes:
            self._bound_header()
        self.in_body = True
        self._progress = True
        self.deadline = self.now + limits.body_timeout

    def on_body(self, body: bytes) -> None:
        self._progress = True
        size = len(body)
        if self._size + size > self._limits.body_bytes:
            raise _too_big_body(self._limits)
        if not self._budget.take(size):
            raise Problem(
                503,
                "Too many request bodies are held at the moment. Try again.",
                reason="Busy",
                retry_after=1,
            )
        self._size += size
        self.wants_continue = False
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytes):
            self._body = [self._body, body]
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return  # comes again, without the offer
        body = self._body if isinstance(self._body, bytes) else b"".join(self._body)
        request = Request(self._method, self._path, self._query, self._headers, body, self.now)
        persistence = self._persistence
        self._size = 0
        self.deadline = NEVER
        self._progress = True
        self.ended = persistence is CLOSE
        self._reset()
        self._deliver(request, persistence)

    # The parts of a header

    def _persist(self) -> bytes:
        """The Connection field of the answer; refuses versions other than 1.0 and 1.1."""
        keep_alive = self._parser.should_keep_alive()
        if keep_alive and not self._has_connection:
            return IMPLICIT  # only 1.1 persists without saying so
        version = self._parser.get_http_version()
        if version == "1.1":
            return IMPLICIT if keep_alive else CLOSE
        if version != "1.0":
            raise Problem(400, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        if self._transfer_encoding:
            raise Problem(400, "HTTP/1.0 has no Transfer-Encoding.")
        self.wants_continue = False
        self._hosts = self._hosts or 1
        return KEEP_ALIVE if keep_alive else CLOSE

    def _check_hosts(self) -> None:
        if self._hosts == 0:
            raise Problem(400, "The header field Host is missing.")
        raise Problem(400, "There is more than one header field Host.")

    def _split_target(self) -> None:
        target = self._target
        if target[:1] == b"/":
            self._path, _, self._query = target.partition(b"?")
            if b"#" not in target:
                return
        elif b"://" not in target or self._method == b"CONNECT":
            raise Problem(400, "The request target is not a path.")
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError as error:
            raise Problem(400, "The request target is not a URL.") from error
        self._path = url.path or b"/"
        self._query = url.query or b""

    def _bound_header(self) -> None:
        """The exact size of a header that came in few pieces; `_unparsed` bounds one in many."""
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)
        if size > self._limits.header_bytes:
            raise _too_big_header(self._limits)

    def _without_upgrade(self) -> bytes:
        """The header once more, without its offer of another protocol, for a new parser.

        Java's client, among others, offers h2c with its first request and expects a plain answer; llhttp
        would take the body for the other protocol's.
        """
        method, version = self._parser.get_method(), self._parser.get_http_version()
        lines = [b"%b %b HTTP/%b" % (method, self._target, version.encode())]
        for name, value in self._headers:
            if name == b"connection":
                value = b", ".join(token for token in _tokens(value) if token != b"upgrade")
            if name != b"upgrade":
                lines.append(name + b": " + value)
        self._parser = self._new_parser()
        self._reset()
        return b"\r\n".join(lines) + b"\r\n\r\n"


def _tokens(value: bytes) -> list[bytes]:
    return [token.strip().lower() for token in value.split(b",")]


def _too_big_header(limits: Limits) -> Problem:
    return Problem(431, f"The request's header is larger than {limits.header_bytes} bytes.")


def _too_big_body(limits: Limits) -> Problem:
    return Problem(413, f"The request's body is larger than {limits.body_bytes} bytes.")


def _problem(error: httptools.HttpParserError) -> Problem:
    """Ours, which went through the parser as the error of a callback, or one for what the parser found."""
    if isinstance(error.__context__, Problem):
        return error.__context__
    return Problem(400, f"The request is not valid HTTP/1.1: {error}.")
