"""The hot routes: which request is a prediction, and what it has to become for a predictor."""

from __future__ import annotations

import re

import msgspec

from tenantry_core import wire
from tenantry_core.http.messages import Handler, Reply, Request
from tenantry_core.problems import Problem
from tenantry_router import fields as field
from tenantry_router import metrics
from tenantry_router.destination import Destination
from tenantry_router.fields import Fields
from tenantry_router.forward import Forward
from tenantry_router.identity import decode_segment, named_caller
from tenantry_router.renaming import Renaming
from tenantry_router.router import Router
from tenantry_router.waiting import Waiting

_PREDICT = b"/predict/"
_MODELS = b"/v2/models/"
_MODEL = re.compile(rb"/v2/models/([^/]+)(?:/versions/([^/]+))?")
_INFER = re.compile(_MODEL.pattern + b"/infer")


class _Parameters(msgspec.Struct):
    user_id: str = ""


class _InferenceRequest(msgspec.Struct):
    """The one part of an inference request that the router may have to read."""

    parameters: _Parameters | None = None


_read_request = msgspec.json.Decoder(_InferenceRequest).decode


class Predictions:
    """`HotRoutes` of the router."""

    def __init__(self, router: Router) -> None:
        self._router = router
        self._waiting = Waiting()

    def match(self, method: bytes, path: bytes) -> Handler | None:
        if method != b"POST":
            return None
        if path.startswith(_PREDICT):
            return self.predict if path.find(b"/", len(_PREDICT)) < 0 else None
        if path.startswith(_MODELS) and _INFER.fullmatch(path):
            return self.infer
        return None

    def predict(self, request: Request, reply: Reply) -> None:
        """`POST /predict/{user_id}`: the model is found by its user."""
        try:
            fields = field.of(request)
            tenant, segment = fields.get(wire.TENANT), request.path[len(_PREDICT) :]
            line = b"POST /predict?%b HTTP/1.1\r\n" % request.query if request.query else _PREDICT_LINE
            lines = field.carried(fields, request.body)
            destination = self._router.destinations.of_user(tenant, segment, request.received)
            if destination is None:
                self._look_up(request, reply, fields, segment, line, lines)
            else:
                self.forward(request, reply, fields, destination, line, lines)
        except Problem as problem:
            metrics.count_refusal(problem)
            raise

    def _look_up(
        self, request: Request, reply: Reply, fields: Fields, segment: bytes, line: bytes, lines: bytes
    ) -> None:
        """Forward it once the repository has been asked for the user."""
        timeout = field.timeout(fields) or self._router.settings.default_timeout
        self._waiting.add(
            reply,
            lambda: self._router.destinations.look_up(fields.get(wire.TENANT), segment),
            request.received + timeout,
            lambda found: self.forward(request, reply, fields, found, line, lines),
        )

    def infer(self, request: Request, reply: Reply) -> None:
        """`POST /v2/models/{model}[/versions/{version}]/infer`: the model is named."""
        try:
            match = _INFER.fullmatch(request.path)
            assert match is not None  # or `match` would not have brought it here
            fields = field.of(request)
            name, version = decode_segment(match[1]), _version(match)
            destination = self._router.named(fields, name, version, lambda: _user_of_body(request, fields))
            lines = field.carried(fields, request.body)
            self.forward(request, reply, fields, destination, destination.target.infer_line, lines)
        except Problem as problem:
            metrics.count_refusal(problem)
            raise

    def metadata(self, request: Request, reply: Reply) -> None:
        """`GET /v2/models/{model}[/versions/{version}]`: asked of a slot, which may have to load it."""
        match = _MODEL.fullmatch(request.path)
        assert match is not None  # or FastAPI would not have brought it here
        fields = field.of(request)
        self.describe(request, reply, fields, decode_segment(match[1]), _version(match))

    def describe(
        self, request: Request, reply: Reply, fields: Fields, name: str, version: str | None
    ) -> None:
        """Answer a model's metadata, under the name that the caller uses."""
        who = named_caller(fields)
        model = self._router.names.find(name, who)
        destination = self._router.destinations.of_model(model, who.user, version)
        destination.at_once = set()  # it is no prediction: it may wait for a load, and others behind it
        renaming = Renaming(reply, self._router.names.shown(model, who))
        lines = field.carried(fields, request.body)
        self.forward(request, renaming, fields, destination, destination.target.metadata_line, lines)

    def forward(
        self,
        request: Request,
        reply: Reply,
        fields: Fields,
        destination: Destination,
        line: bytes,
        lines: bytes,
    ) -> None:
        """Send it to a slot, by a request line and field lines, for as long as caller or model allow.

        Raises Problem as `Forward.start` does, and 400 for a timeout that is none.
        """
        router = self._router
        timeout = field.timeout(fields) or destination.model.timeout or router.settings.default_timeout
        Forward(
            router.forwarder, request, reply, destination, line, lines, request.received + timeout
        ).start()


_PREDICT_LINE = b"POST /predict HTTP/1.1\r\n"


def _version(match: re.Match[bytes]) -> str | None:
    return None if match[2] is None else decode_segment(match[2])


def _user_of_body(request: Request, fields: Fields) -> str:
    """Empty where it names none. Raises Problem 400."""
    try:
        document = _read_request(request.body[: field.json_length(fields, request.body)])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, f"The body is no inference request: {error}.", reason="Malformed") from error
    return document.parameters.user_id if document.parameters else ""
