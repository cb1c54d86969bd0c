"""The hot path: one prediction on its way to a slot and back. By callbacks; no task per request."""

from __future__ import annotations

import asyncio
import math
from time import monotonic

import msgspec

from tenantry_core import wire
from tenantry_core.http.client import Call, Failure, UpstreamError, UpstreamResponse
from tenantry_core.http.encoding import field_lines, length_line, problem_response
from tenantry_core.http.heads import derived
from tenantry_core.http.messages import Headers, Reply, Request, Response
from tenantry_core.problems import Problem
from tenantry_router import metrics
from tenantry_router.choose import Choice, choose
from tenantry_router.destination import Destination
from tenantry_router.fields import CONTENT_TYPE, INFERENCE_HEADER, SERVER_TIMING
from tenantry_router.fleet import LATELY, Fleet, Slot
from tenantry_router.health import Health
from tenantry_router.load_times import LoadTimes
from tenantry_router.model import CACHE_OUTCOMES
from tenantry_router.retry_budget import RetryBudget

_TICK = 0.01
"""Seconds between looks at the deadlines: a request may outlive its own by so much."""
_ATTEMPTS = 2
_COPIED = frozenset({CONTENT_TYPE, INFERENCE_HEADER, b"retry-after"})
"""Fields of a predictor's answer that a client gets as they are."""
_LOADED = frozenset({b"miss", b"disk"})
_ELSEWHERE = frozenset({"Busy", "StorageUnavailable"})
"""Reasons of a 503 that speak of the slot and not of the model: on another slot it may be warm."""
_NO_ARTIFACT = "ArtifactNotFound"
_AT_ONCE = b"%b: 1\r\n" % wire.AT_ONCE
_SHARED_BYTES = 16 * 1024
"""Larger bodies would take their time on a connection that others share."""


class _Reason(msgspec.Struct):
    reason: str = ""


_read_reason = msgspec.json.Decoder(_Reason).decode


class Forwarder:
    """Everything that requests on their way have in common. One per worker process.

    Times are `time.monotonic()`: the clock of the event loop too, which uvloop reads once per iteration.
    """

    def __init__(self, fleet: Fleet, token: bytes) -> None:
        """`token` is sent to predictors unless it is empty."""
        self.fleet = fleet
        self.health = Health(fleet, self._on_ejected)
        self.budget = RetryBudget()
        self.load_times = LoadTimes()
        self.use_token(token)
        self.under_way: set[Forward] = set()

    def use_token(self, token: bytes) -> None:
        """For the requests from now on."""
        self.common = b"host: predictor\r\n" + (b"%b: %b\r\n" % (wire.TOKEN, token) if token else b"")

    async def watch_deadlines(self) -> None:
        """Give up on requests whose deadline has passed, until cancelled.

        One look at all that is under way costs less than a timer per request.
        """
        counted = 0
        while True:
            await asyncio.sleep(_TICK)
            metrics.IN_FLIGHT.inc(len(self.under_way) - counted)
            counted = len(self.under_way)
            now = monotonic()
            for forward in [f for f in self.under_way if f.deadline <= now]:
                forward.expire()

    def _on_ejected(self, slot: Slot) -> None:
        """Requests that wait for a slot that does not live are better asked elsewhere."""
        metrics.EJECTIONS.labels(slot.name).inc()
        for forward in [f for f in self.under_way if f.slot is slot]:
            forward.leave_slot()


class Forward:
    """One request: sent to a slot, perhaps to a second one, answered once."""

    __slots__ = (
        "_call",
        "_destination",
        "_fields",
        "_forwarder",
        "_line",
        "_reason",
        "_reply",
        "_request",
        "_started",
        "_tried",
        "deadline",
        "slot",
    )

    slot: Slot
    """The one that it was sent to last."""

    def __init__(
        self,
        forwarder: Forwarder,
        request: Request,
        reply: Reply,
        destination: Destination,
        line: bytes,
        fields: bytes,
        deadline: float,
    ) -> None:
        """`line` is the request line for the predictor, `fields` are header lines of this request's own."""
        self._forwarder = forwarder
        self._request = request
        self._reply = reply
        self._destination = destination
        self._line = line
        self._fields = fields
        self.deadline = deadline
        self._tried: tuple[str, ...] = ()

    def start(self) -> None:
        """Send it to the first slot. Raises Problem when there is none, or no time."""
        forwarder = self._forwarder
        now = self._started = monotonic()
        forwarder.budget.record(now)
        choice = self._choose()
        if choice is None:
            raise self._unreachable("No predictor of its pool has an address")
        if now >= self.deadline:
            raise _late()
        self._reply.on_disconnect = self._drop
        forwarder.under_way.add(self)
        self._send(choice, now)

    def expire(self) -> None:
        """The deadline has passed."""
        self._cancel()
        self._fail(_late())

    def leave_slot(self) -> None:
        """The slot it waits for has been put out of rotation."""
        if self._call is None:
            return  # its own failure was the one too many, and is being dealt with
        if not self._may_retry():
            return  # it may still answer before the deadline
        self._cancel()
        self._retry_or(None)

    def _choose(self) -> Choice | None:
        to = self._destination
        pool = self._forwarder.fleet.pools.get(to.model.pool)
        return choose(to.target, pool, to.order, to.key, self._tried)

    def _send(self, choice: Choice, now: float) -> None:
        slot, self._reason = choice
        self.slot = slot
        slot.sent += 1
        if slot.sent >= LATELY:
            self._forwarder.fleet.pools[slot.address.pool].halve_sent()
        body = self._request.body
        at_once = slot.name in self._destination.at_once and len(body) <= _SHARED_BYTES
        request = b"".join(
            (
                self._line,
                length_line(len(body)),  # first: a predictor knows again what comes after it
                self._forwarder.common,
                self._destination.fields,
                self._fields,
                _AT_ONCE if at_once else b"",
                _timeout_line(self.deadline - now),
                body,
            )
        )
        self._call: Call | None = slot.upstream.send(request, self._done, share=at_once)

    def _done(self, result: UpstreamResponse | UpstreamError) -> None:
        self._call = None
        if isinstance(result, UpstreamError):
            metrics.UPSTREAM_ERRORS.labels(result.failure.name.lower()).inc()
            self._forwarder.health.failed(self.slot, monotonic())
            self._retry_or(self._failure(result))
        else:
            self.slot.failures = 0
            if result.status == 503:
                self._not_served(result)
            else:
                self._answer(result)

    def _not_served(self, result: UpstreamResponse) -> None:
        """The slot has no such model to answer with: is it the slot, the model, or the user?"""
        reason = _reason_of(result)
        if reason == wire.NOT_AT_ONCE:  # no failure: it just must not hold up others
            self._destination.at_once.discard(self.slot.name)
            self._send(Choice(self.slot, self._reason), monotonic())
        elif reason in _ELSEWHERE:
            self._retry_or(result)
        elif reason == _NO_ARTIFACT and self._destination.target.per_user:
            sentence = f"Model {self._destination.model.key} has no artifact for this user."
            self._fail(Problem(404, sentence, reason="UnknownUser"))
        else:
            self._answer(result)

    def _may_retry(self) -> bool:
        return len(self._tried) + 1 < _ATTEMPTS

    def _retry_or(self, outcome: Problem | UpstreamResponse | None) -> None:
        """Try another slot; where there is none, or no budget, or no time, `outcome` is the answer."""
        forwarder = self._forwarder
        now = monotonic()
        if self._may_retry() and now < self.deadline:
            self._tried = (*self._tried, self.slot.name)
            choice = self._choose()
            if choice is not None and forwarder.budget.take(now):
                metrics.RETRIES.inc()
                self._send(choice, now)
                return
            if choice is not None:
                metrics.RETRIES_REFUSED.inc()
        if isinstance(outcome, UpstreamResponse):
            self._answer(outcome)
        else:
            self._fail(outcome or self._unreachable("The slot that it was sent to does not answer"))

    def _answer(self, result: UpstreamResponse) -> None:
        if result.status >= 400:
            if result.status in (401, 403):
                sentence = "The predictor does not accept this router's token: give both the same token file."
                self._fail(Problem(502, sentence, reason="TokenRefused"))
                return
            metrics.count_problem(result.status, _reason_of(result))
        told = derived(result.head, result.headers, _Told)
        elapsed = monotonic() - self._started
        if told.at_once:  # the next requests to this slot may share a connection
            self._destination.at_once.add(self.slot.name)
        elif told.cache:
            self._destination.at_once.discard(self.slot.name)
            if told.cache in _LOADED:
                self._forwarder.load_times.observe(elapsed)
        route = self._destination.target.route(self.slot.name, told.cache, self._reason)
        timing = b"router;dur=%.3f%b" % (elapsed * 1000, told.timing)
        headers = (*told.copied, (wire.ROUTE, route), (SERVER_TIMING, timing))
        lines = b"%btenantry-route: %b\r\nserver-timing: %b\r\n" % (told.lines, route, timing)
        self._finish(Response(result.status, headers, result.body, lines), elapsed)

    def _fail(self, problem: Problem) -> None:
        metrics.count_problem(problem.status, problem.reason)
        response = problem_response(problem)
        route = self._destination.target.route(self.slot.name, b"", self._reason)
        headers = (*response.headers, (wire.ROUTE, route))
        self._finish(Response(response.status, headers, response.body), monotonic() - self._started)

    def _finish(self, response: Response, elapsed: float) -> None:
        self._forwarder.under_way.discard(self)
        metrics.count_request(response.status)
        metrics.DURATION.observe(elapsed)
        self._reply.send(response)

    def _drop(self) -> None:
        """The client is gone."""
        self._forwarder.under_way.discard(self)
        self._cancel()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    def _failure(self, error: UpstreamError) -> Problem:
        if error.failure is Failure.CONNECT:
            return self._unreachable("The predictors that were tried cannot be reached")
        return Problem(502, "The predictor broke off without an answer; try again.", reason="BadGateway")

    def _unreachable(self, what: str) -> Problem:
        return Problem(
            503,
            f"{what}: model {self._destination.model.key}, pool {self._destination.model.pool!r}.",
            reason="Unreachable",
            retry_after=self._forwarder.load_times.retry_after(),
        )


class _Told:
    """What the fields of a predictor's answer say."""

    __slots__ = ("at_once", "cache", "copied", "lines", "timing")

    def __init__(self, headers: Headers) -> None:
        self.copied = tuple(field for field in headers if field[0] in _COPIED)
        self.lines = field_lines(self.copied)
        self.cache = self.timing = b""
        self.at_once = False
        for name, value in headers:
            if name == wire.CACHE and value in CACHE_OUTCOMES:
                self.cache = CACHE_OUTCOMES[value]
                self.at_once = value == wire.HIT
            elif name == SERVER_TIMING:
                self.timing = b", " + value


def _timeout_line(seconds: float) -> bytes:
    """The last line of a head. In quarters of a second: heads are alike, and we give up in time ourselves."""
    quarters = math.ceil(seconds * 4)
    if quarters < 4:
        return b"%b: %dms\r\n\r\n" % (wire.TIMEOUT, max(1, int(seconds * 1000)))
    if quarters < len(_TIMEOUT_LINES):
        return _TIMEOUT_LINES[quarters]
    return _quarters_line(quarters)


def _quarters_line(quarters: int) -> bytes:
    return b"%b: %dms\r\n\r\n" % (wire.TIMEOUT, quarters * 250)


_TIMEOUT_LINES = [_quarters_line(quarters) for quarters in range(4 * 60)]


def _late() -> Problem:
    return Problem(504, "The request's time was up before a predictor answered.", reason="DeadlineExceeded")


def _reason_of(result: UpstreamResponse) -> str:
    try:
        return _read_reason(result.body).reason
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
