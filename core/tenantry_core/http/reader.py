"""Bytes of one connection -> whole requests within the limits, or the problem that ends the connection."""

from __future__ import annotations

import asyncio
import math
import re
from typing import Any

import httptools

from tenantry_core.http.encoding import CLOSE, IMPLICIT, KEEP_ALIVE
from tenantry_core.http.exchange import Exchange
from tenantry_core.http.heads import Head, Memo, body_length
from tenantry_core.http.limits import Budget, Limits
from tenantry_core.problems import Problem

NEVER = math.inf


class RequestReader(asyncio.Protocol):
    """The reading half of a connection: httptools' callbacks, and what they find.

    llhttp refuses most of what smuggles requests; what it lets pass is refused here. Every request costs what
    is written in the callbacks, so they are plain to the point of repeating themselves.
    """

    limits: Limits
    budget: Budget
    heads: Memo[Head]
    """By the bytes of their field lines; see `_read_known`."""

    __slots__ = (
        "_between",
        "_block",
        "_body",
        "_fed",
        "_headers",
        "_hosts",
        "_loop",
        "_method",
        "_parser",
        "_path",
        "_persistence",
        "_progress",
        "_query",
        "_received",
        "_size",
        "_target",
        "_transfer_encoding",
        "_unparsed",
        "_unusual",
        "_upgrading",
        "_wants_continue",
        "gathering",
        "in_body",
        "read_deadline",
        "read_ended",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = self._new_parser()
        self._block: bytes | None = None
        """The field lines that are to be remembered if they are usual ones."""
        self._fed = 0
        self._unparsed = 0
        self._size = 0
        self._received = 0.0
        self.read_deadline = NEVER
        """The loop's time at which the request that is being read is too slow; NEVER between requests."""
        self.gathering = False
        """Several requests may be delivered before `send_gathered` is called."""
        self.read_ended = False
        """What comes after the last request that was read is not looked at."""
        self._forget_request()

    # What the answering half has to say

    def deliver(self, exchange: Exchange) -> None:
        """A whole request has arrived; its body's bytes are taken from the budget."""
        raise NotImplementedError

    def refuse(self, problem: Problem) -> None:
        """What was read is no request: say so, and end the connection."""
        raise NotImplementedError

    def send_gathered(self) -> None:
        """All that has arrived has been read: answers that were kept until now go out in one write."""
        raise NotImplementedError

    def ask_for_body(self) -> None:
        """The client waits for `100 Continue` with its body."""
        raise NotImplementedError

    # Reading

    def data_received(self, data: bytes) -> None:
        if self.read_ended:
            return
        self._received = now = self._loop.time()
        self._progress = False
        try:
            if self._between and self.read_deadline is NEVER:
                data = self._read_known(data)
            if data:
                self.gathering = True
                self._parse(data, now)
        finally:
            if self.gathering:
                self.gathering = False
                self.send_gathered()

    def _parse(self, data: bytes, now: float) -> None:
        self._fed = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._feed_again(data, upgrade)
        except httptools.HttpParserError as error:
            self.refuse(_problem(error))
        if not self._between or not self._progress:
            self._request_is_unfinished(now)

    @property
    def reading(self) -> bool:
        """Part of a request has arrived."""
        return self._target != b""

    def stop_reading(self) -> None:
        """Give back what the unfinished request holds; nothing more will be read."""
        self.budget.give_back(self._size)
        self._size = 0
        self._forget_request()
        self.read_deadline = NEVER
        self.read_ended = True

    def renew_read_deadline(self) -> None:
        """Nothing has been read for a while, and that was not the client's fault."""
        if self.read_deadline is not NEVER:
            self.read_deadline = self._loop.time() + self._timeout()

    def _timeout(self) -> float:
        return self.limits.body_timeout if self.in_body else self.limits.header_timeout

    def _read_known(self, data: bytes) -> bytes:
        """Deliver the requests at the start of `data` whose fields are known; the rest is for the parser.

        Only what the parser has found in the very same bytes is known, and only between requests, where its
        state is always the same. So there is no second opinion about fields: all that is read here is a
        request line of the plainest kind and, if it is the first field, the length of the body.
        """
        start, end = 0, len(data)
        limits, budget = self.limits, self.budget
        while (line := _LINE.match(data, start)) is not None:
            fields = line.end()
            if (given := _LENGTH.match(data, fields)) is not None:
                fields = given.end()
            body = data.find(b"\r\n\r\n", fields) + 4
            block = data[fields:body]
            head = self.heads.get(block)
            if head is None:
                if self.heads.is_wanted(block):
                    self._block = block
                break
            headers, length = head.headers, head.length
            if (given is None) is (length < 0):
                break  # there is no length, or there are two
            if given is not None:
                headers = ((b"content-length", given[1]), *headers)
                length = int(given[1])
            request_end = body + length
            if (
                request_end > end
                or body - start > limits.header_bytes
                or length > limits.body_bytes
                or budget.used + length > budget.total
            ):
                break  # it is not whole, or will be refused
            budget.used += length
            if request_end < end:
                self.gathering = True
            path, _, query = line[1].partition(b"?")
            content, received = data[body:request_end], self._received
            self.deliver(Exchange(b"POST", path, query, headers, content, received, IMPLICIT, head))
            start = request_end
            if start == end or self.read_ended:
                return b""
        self._progress = start > 0
        return data[start:]

    def _remember(self, block: bytes) -> None:
        """The parser has read a head whose field lines are `block`: know it from now on, if it is usual."""
        headers = tuple(self._headers)
        length = body_length(headers)
        lines = block.count(b"\n") - 1
        outside = len(headers) - lines  # one if the first field is the length and not part of the block
        if self._unusual or self._persistence is not IMPLICIT or length is None:
            return
        if block.count(b"\r\n") == lines + 1 and outside in (0, 1) and b"upgrade" not in dict(headers):
            self.heads.put(block, Head(headers[outside:], -1 if outside else length))

    def _new_parser(self) -> Any:
        self._between = True
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # such data is ignored
        return parser

    def _forget_request(self) -> None:
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._hosts = 0
        self._body: bytes | list[bytes] = b""
        self.in_body = False
        """The header is complete, the body is not."""
        self._forget_unusual()

    def _forget_unusual(self) -> None:
        self._unusual = False
        """The header says something about the connection or the transfer."""
        self._transfer_encoding = False
        self._upgrading = False
        self._wants_continue = False

    def _request_is_unfinished(self, now: float) -> None:
        """Bound its time, and what piles up inside the parser: fields, trailers and chunk extensions."""
        if self.read_ended:
            return
        if self.read_deadline is NEVER:
            self.read_deadline = now + self._timeout()
        self._unparsed = 0 if self._progress else self._unparsed + self._fed
        if self._unparsed > self.limits.header_bytes:
            self.refuse(_too_big_header(self.limits))
        elif self._wants_continue:
            self.ask_for_body()

    # httptools' callbacks

    def on_message_begin(self) -> None:
        self._between = False

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
            if int(value) > self.limits.body_bytes:
                raise _too_big_body(self.limits)
        elif name in _UNUSUAL:
            self._note_unusual(name, value)

    def on_headers_complete(self) -> None:
        parser = self._parser
        self._method = parser.get_method()
        if self._method == b"CONNECT":  # an offer of another protocol, however it is written
            raise Problem(400, "CONNECT is for proxies, and this server is none.")
        self._persistence = IMPLICIT  # only HTTP/1.1 persists without saying so
        if self._unusual or not parser.should_keep_alive():
            if parser.should_upgrade():
                self._upgrading = True
                return
            self._persistence = self._persist()
        if self._hosts != 1:
            raise Problem(400, "The header field Host is missing, or there is more than one.")
        target = self._target
        if target[0] == _SLASH and b"#" not in target:
            self._path, _, self._query = target.partition(b"?")
        else:
            self._path, self._query = self._split(target)
        if self._fed + self._unparsed > self.limits.header_bytes:
            self._bound_header()
        self.in_body = self._progress = True
        if self._block is not None:
            self._remember(self._block)
            self._block = None
        if self.read_deadline is not NEVER:
            self.read_deadline = self._received + self.limits.body_timeout

    def on_body(self, body: bytes) -> None:
        size = len(body)
        if self._size + size > self.limits.body_bytes:
            raise _too_big_body(self.limits)
        budget = self.budget
        if budget.used + size > budget.total:
            raise Problem(503, "The server holds too many request bodies.", reason="Busy", retry_after=1)
        budget.used += size
        self._size += size
        self._progress = True
        self._wants_continue = False
        if not self._body:
            self._body = body
        elif isinstance(self._body, bytes):
            self._body = [self._body, body]
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return  # comes again, without the offer
        body = self._body
        if isinstance(body, list):
            body = b"".join(body)
        persistence = self._persistence
        exchange = Exchange(
            self._method, self._path, self._query, self._headers, body, self._received, persistence
        )
        self._target = self._body = b""
        self._headers = []
        self._hosts = self._size = self._unparsed = 0
        self.in_body = False
        self._between = self._progress = True
        self.read_deadline = NEVER
        if self._unusual:
            self._forget_unusual()
        if persistence is CLOSE:
            self.read_ended = True
        self.deliver(exchange)

    # The unusual parts of a header

    def _note_unusual(self, name: bytes, value: bytes) -> None:
        self._unusual = True
        if name == b"transfer-encoding":
            self._transfer_encoding = True
            if value.lower() != b"chunked":
                raise Problem(400, "The only transfer coding that is understood here is chunked.")
        elif name == b"expect":
            self._wants_continue = value.lower() == b"100-continue"

    def _persist(self) -> bytes:
        """The Connection field of the answer; refuses versions other than 1.0 and 1.1."""
        keep_alive = self._parser.should_keep_alive()
        version = self._parser.get_http_version()
        if version == "1.1":
            return IMPLICIT if keep_alive else CLOSE
        if version != "1.0":
            raise Problem(400, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
        if self._transfer_encoding:
            raise Problem(400, "HTTP/1.0 has no Transfer-Encoding.")
        self._wants_continue = False
        self._hosts = self._hosts or 1
        return KEEP_ALIVE if keep_alive else CLOSE

    def _split(self, target: bytes) -> tuple[bytes, bytes]:
        """Path and query of a target that is a whole URL, or has a fragment."""
        if b"://" not in target and target[0] != _SLASH:
            raise Problem(400, "The request target is not a path.")
        try:
            url = httptools.parse_url(target)
        except httptools.HttpParserInvalidURLError as error:
            raise Problem(400, "The request target is not a URL.") from error
        return url.path or b"/", url.query or b""

    def _bound_header(self) -> None:
        """The exact size of a header that came in few pieces; `_unparsed` bounds one in many."""
        size = len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)
        if size > self.limits.header_bytes:
            raise _too_big_header(self.limits)

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
                self.refuse(_problem(error))

    def _without_upgrade(self) -> bytes:
        """The header once more, without its offer of another protocol, for a new parser.

        Java's client, among others, offers h2c with its first request and expects a plain answer; llhttp
        would take the body for the other protocol's.
        """
        lines = [b"%b %b HTTP/%b" % (self._method, self._target, self._parser.get_http_version().encode())]
        for name, value in self._headers:
            if name == b"connection":
                value = b", ".join(token for token in _tokens(value) if token != b"upgrade")
            if name != b"upgrade":
                lines.append(name + b": " + value)
        self._parser = self._new_parser()
        self._forget_request()
        return b"\r\n".join(lines) + b"\r\n\r\n"


_SLASH = ord("/")
_LINE = re.compile(rb"POST (/[\w\-.~%!$&'()*+,;=:@/?]*) HTTP/1\.1\r\n")
_LENGTH = re.compile(rb"content-length: (\d{1,9})\r\n")
"""Where it is the first field, as routers write it, so that what comes after it is often the same."""
_UNUSUAL = frozenset({b"connection", b"expect", b"transfer-encoding"})


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
