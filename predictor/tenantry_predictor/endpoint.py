"""The hot routes: a prediction's bytes -> a call of the data plane."""

from __future__ import annotations

import re
from collections.abc import Mapping
from hmac import compare_digest
from urllib.parse import parse_qsl, unquote

from tenantry_core import wire
from tenantry_core.durations import parse_duration
from tenantry_core.http.messages import Handler, Headers, Payload, Reply, Request
from tenantry_core.oip import json_codec, protobuf_codec
from tenantry_core.oip.messages import Answerer, Encode, InferRequest
from tenantry_core.oip.tensors import differing_rows, read_inputs, select_outputs
from tenantry_core.problems import Problem
from tenantry_core.tokens import TokenFile
from tenantry_predictor.dataplane import Call, DataPlane, Job
from tenantry_predictor.errors import LoadError
from tenantry_predictor.references import References
from tenantry_predictor.repositories.base import Source
from tenantry_predictor.repositories.memory import Entry
from tenantry_predictor.tables import encode_predictions

_PREDICT = b"/predict"
_MODELS = b"/v2/models/"
_INFER = re.compile(rb"/v2/models/([^/]+)(?:/versions/([^/]+))?/infer")
_DEFAULT_SECONDS = 30.0
"""Where no Tenantry-Timeout says less."""
_REFUSED_SECONDS = 30
"""When to ask again for what the policy refuses: somebody has to change the model or the pool first."""
_CONTENT_TYPE = b"content-type"
_JSON: Headers = ((_CONTENT_TYPE, b"application/json"),)
_INPUT_REFUSED = "InputRefused"

Fields = Mapping[bytes, bytes]


class Tokens:
    """Who may call: everybody where no token is configured, else who sends one of them."""

    def __init__(self, file: TokenFile | None = None) -> None:
        self._file = file

    def check(self, token: bytes | None) -> None:
        """Raises Problem (401)."""
        file = self._file
        if file and not any(compare_digest(token or b"", known) for known in file.accepted):
            raise Problem(
                401, "Tenantry-Token is missing or none of the accepted ones.", reason="Unauthorized"
            )


class _Asked:
    """What the fields of a request ask for; read once for all that have the same head."""

    __slots__ = ("at_once", "fields", "seconds", "source", "token")

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.token = fields.get(wire.TOKEN)
        self.at_once = wire.AT_ONCE in fields
        self.source: Source | None = None
        """Once it and the time have been read; the policy that admits it never changes."""
        self.seconds = _DEFAULT_SECONDS


class Predictions:
    """`HotRoutes` of the predictor."""

    def __init__(self, plane: DataPlane, references: References, tokens: Tokens) -> None:
        self._plane = plane
        self._references = references
        self._tokens = tokens

    def match(self, method: bytes, path: bytes) -> Handler | None:
        if method != b"POST":
            return None
        if path == _PREDICT:
            return self.predict
        if path.startswith(_MODELS) and path.endswith(b"/infer") and _INFER.fullmatch(path):
            return self.infer
        return None

    def predict(self, request: Request, reply: Reply) -> None:
        """`POST /predict`: a table in, a list out."""
        asked = self._asked(request)
        body = request.body
        output = _output(request.query) if request.query else None
        self._call(asked, lambda entry: _predict(entry, body, output), request, reply)

    def infer(self, request: Request, reply: Reply) -> None:
        """`POST /v2/models/{model}[/versions/{version}]/infer`: tensors in, tensors out."""
        asked = self._asked(request)
        fields = asked.fields
        match = _INFER.fullmatch(request.path)
        assert match is not None  # or `match` would not have brought it here
        model = unquote(match[1].decode("latin-1"))
        if fields.get(wire.MODEL, model.encode()) != model.encode():
            raise Problem(400, "Tenantry-Model names another model than the path.", reason="Malformed")
        if wire.MODEL not in fields or (match[2] is not None and wire.VERSION not in fields):
            version = {} if match[2] is None else {wire.VERSION: match[2]}
            asked = _Asked({wire.MODEL: model.encode(), **version, **fields})
        self._call(asked, _inference(fields, request.body, model), request, reply)

    def _asked(self, request: Request) -> _Asked:
        """Raises Problem (401). Tokens change, so each request has its own checked."""
        head = request.head
        asked: _Asked | None = head.derived if head is not None else None
        if asked is not None:
            self._tokens.check(asked.token)
            return asked
        asked = _Asked(dict(request.headers))
        self._tokens.check(asked.token)
        if head is not None:
            head.derived = asked
        return asked

    def source(self, fields: Fields) -> Source:
        """Raises Problem, also where the policy refuses."""
        try:
            return self._references.from_fields(fields)
        except LoadError as error:
            raise Problem(503, error.message, reason=error.reason, retry_after=_REFUSED_SECONDS) from error

    def _call(self, asked: _Asked, job: Job, request: Request, reply: Reply) -> None:
        source = asked.source
        if source is None:
            asked.seconds = _timeout(asked.fields.get(wire.TIMEOUT))
            source = asked.source = self.source(asked.fields)
        deadline = request.received + asked.seconds
        self._plane.answer(Call(source, job, len(request.body), deadline, asked.at_once), reply)


def _predict(entry: Entry, body: bytes, output: str | None) -> Payload:
    model = entry.model
    name = model.outputs[0].name if output is None else output
    if output is not None and all(output != tensor.name for tensor in model.outputs):
        known = ", ".join(repr(tensor.name) for tensor in model.outputs)
        raise Problem(422, f"The model has no output {output!r}; it has {known}.", reason="InputMismatch")
    return Payload(_JSON, encode_predictions(model.predict(entry.table.read(body), [name])[name]))


def _inference(fields: Fields, body: bytes, name: str) -> Job:
    """What the Open Inference Protocol asks for: in protobuf, or in JSON with or without binary tensors."""
    if fields.get(_CONTENT_TYPE) == protobuf_codec.CONTENT_TYPE:
        return lambda entry: _infer(entry, protobuf_codec.decode(body), protobuf_codec.encode, name)
    length = fields.get(json_codec.JSON_LENGTH)
    json_bytes = None if length is None else json_codec.json_length(length, body)
    return lambda entry: _infer(entry, json_codec.decode(body, json_bytes), json_codec.encode, name)


def _infer(entry: Entry, request: InferRequest, encode: Encode, name: str) -> Payload:
    model = entry.model
    inputs = read_inputs(request.inputs, model.inputs)
    outputs = select_outputs(request, model.outputs)
    try:
        arrays = model.predict(inputs, [output.tensor.name for output in outputs])
    except Problem as problem:
        misfit = differing_rows(inputs) if problem.reason == _INPUT_REFUSED else None
        raise misfit or problem from problem
    return encode(Answerer(name, entry.key.sha256), request.id, outputs, arrays)


def _output(query: bytes) -> str | None:
    """The query's `output`, the last one if there are several."""
    return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)).get("output")


def _timeout(text: bytes | None) -> float:
    if text is None:
        return _DEFAULT_SECONDS
    if text.endswith(b"ms") and len(text) < 15 and text[:-2].isdigit():  # how routers write it
        return int(text[:-2]) / 1000
    try:
        return parse_duration(text.decode("latin-1"))
    except ValueError as error:
        raise Problem(400, f"Tenantry-Timeout: {error}.", reason="Malformed") from error
