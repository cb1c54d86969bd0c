"""Models that a worker process opens: served by ONNX Runtime where a graph agrees, else by the worker."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tenantry_core.problems import Problem
from tenantry_predictor.errors import FormatNotTrusted, LoadError
from tenantry_predictor.runtimes import onnx
from tenantry_predictor.runtimes.base import AnyArray, LoadedModel
from tenantry_predictor.runtimes.messages import (
    Answers,
    Failed,
    Graph,
    Native,
    Open,
    Predict,
    Reply,
    Request,
    decode_reply,
    encode,
    pack,
    unpack,
)
from tenantry_predictor.runtimes.readers import FORMATS
from tenantry_predictor.runtimes.workers import ForkServer, Worker, WorkerDied, WorkerTimeout

logger = logging.getLogger(__name__)

LOAD_SECONDS = 60.0
PREDICT_SECONDS = 10.0
MEMORY_BYTES = 1 << 30
"""What opening or serving one model may take beside the libraries."""
CRASHES = 3
"""So many crashes within CALM_SECONDS, and a model is left alone until these have passed."""
CALM_SECONDS = 600.0


class WorkerLoader:
    """Loads the formats of `readers`. Processes start at the first load: a pool without any pays nothing."""

    def __init__(self, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self._server = ForkServer(memory_bytes)

    def load(self, model_format: str, path: Path) -> LoadedModel:
        """Blocks, mostly waiting for another process. Raises LoadError and OSError."""
        content = path.read_bytes()
        worker = self._server.worker()
        reply = _open(worker, Open(model_format, content))
        if isinstance(reply, Graph):
            worker.kill()
            logger.info("%s: %s", path, reply.parity)
            model = onnx.load_bytes(reply.onnx)
            model.prepared = reply.onnx
            return model
        logger.info("%s is served by %s: %s", path, FORMATS[model_format].engine, reply.why)
        return NativeModel(self._server, worker, os.open(path, os.O_RDONLY), reply, model_format)

    def start(self) -> None:
        """Begin to import the libraries, which takes seconds, before the first load. Raises OSError."""
        self._server.start()

    def close(self) -> None:
        """End all processes."""
        self._server.close()


class NativeModel(LoadedModel):
    """A model in a worker process of its own, which is made anew when the model crashed it."""

    blocks = True

    def __init__(
        self, server: ForkServer, worker: Worker, file: int, native: Native, model_format: str
    ) -> None:
        self.engine = FORMATS[model_format].engine
        self.inputs, self.outputs, self.columns = native.inputs, native.outputs, native.columns
        self.sample = native.sample.encode() or None
        self.size_bytes = worker.private_bytes()
        self._server = server
        self._worker: Worker | None = worker
        # Held open: the cache may drop the file from disk while the model is in memory.
        self._file = file
        self._format = model_format
        self._lock = threading.Lock()
        self._crashes: list[float] = []

    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        with self._lock:
            self._refuse_while_quarantined()
            worker = self._worker or self._restarted()
            self._worker = None
            request = Predict(pack(tensors), list(outputs))
            try:
                answers = _answers(_ask(worker, request, PREDICT_SECONDS))
            except WorkerTimeout as error:
                message = f"The model took longer than {PREDICT_SECONDS:g} s and was stopped."
                raise Problem(504, message, reason="ModelTimeout") from error
            except (WorkerDied, ValueError) as error:
                worker.kill()
                self._crashes.append(time.monotonic())
                raise Problem(500, "The model crashed on this request.", reason="ModelCrashed") from error
            except Problem:
                self._worker = worker
                raise
            self._worker = worker
            return answers

    def close(self) -> None:
        with self._lock:
            if self._worker is not None:
                self._worker.kill()
                self._worker = None
            os.close(self._file)

    def _refuse_while_quarantined(self) -> None:
        now = time.monotonic()
        self._crashes = [at for at in self._crashes if now - at < CALM_SECONDS]
        if len(self._crashes) >= CRASHES:
            raise Problem(
                503,
                f"The model crashed {len(self._crashes)} times and is left alone for a while; "
                "publish a version that works.",
                reason="ModelQuarantined",
                retry_after=round(self._crashes[0] + CALM_SECONDS - now) + 1,
            )

    def _restarted(self) -> Worker:
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        try:
            worker = self._server.worker()
            _open(worker, Open(self._format, content, native=True))
        except LoadError as error:
            raise Problem(500, error.message, reason=error.reason) from error
        return worker


def _open(worker: Worker, request: Open) -> Graph | Native:
    """Raises LoadError; the worker is gone then."""
    title = FORMATS[request.format].title
    try:
        reply = _ask(worker, request, LOAD_SECONDS)
    except WorkerTimeout as error:
        raise LoadError(
            "LoadFailed", f"The {title} file was not opened within {LOAD_SECONDS:g} s."
        ) from error
    except (WorkerDied, ValueError) as error:
        raise LoadError("LoadFailed", f"The {title} file crashed the process that opened it.") from error
    if isinstance(reply, Graph | Native):
        return reply
    worker.kill()
    if isinstance(reply, Answers):
        raise LoadError("LoadFailed", f"The process that opened the {title} file spoke out of turn.")
    if reply.reason == FormatNotTrusted.reason_word:
        raise FormatNotTrusted(reply.message)
    raise LoadError("LoadFailed", reply.message)


def _ask(worker: Worker, request: Request, seconds: float) -> Reply:
    """Raises WorkerDied, WorkerTimeout, ValueError (an answer that is none); the worker is gone then."""
    try:
        return decode_reply(worker.request(encode(request), seconds))
    except msgspec.DecodeError as error:
        worker.kill()
        raise ValueError("the worker's answer is not understood") from error


def _answers(reply: Reply) -> dict[str, AnyArray]:
    if isinstance(reply, Failed):
        raise Problem(422, f"The model refused the input: {reply.message}", reason="InputRefused")
    if not isinstance(reply, Answers):
        raise ValueError("the worker spoke out of turn")
    return unpack(reply.outputs)
