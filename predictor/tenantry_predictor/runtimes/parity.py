"""Does a graph answer as the estimator does? Compared on probe rows before the graph is ever served.

The tolerance. Labels must be equal. Probabilities and other numbers may differ by 1e-4 of their size plus
1e-5 of the usual size of the answers (the median of their absolute values, at most 1 for probabilities).
Single precision stays some ten times below that, unless a row falls to the other side of a threshold or
large terms cancel: then a graph in double precision is tried.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pandas as pd
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from tenantry_predictor.runtimes import sklearn
from tenantry_predictor.runtimes.columns import InputColumns, UnknownColumns
from tenantry_predictor.runtimes.conversion import NotConvertible, Precision, shortened
from tenantry_predictor.runtimes.probes import Probe, probes
from tenantry_predictor.runtimes.readers import Reader

RELATIVE = 1e-4
ABSOLUTE = 1e-5
"""Of the usual size of the answers."""

ORT_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class ParityReport:
    """How far the graph's answers are from the estimator's."""

    rows: int
    agrees: bool
    largest_difference: float
    """The largest absolute difference of a number; infinite where labels or missing values differ."""
    where: str = ""
    """Where the largest difference showed, as a phrase."""
    precision: Precision = "float"

    def __str__(self) -> str:
        verdict = "agrees with" if self.agrees else "differs from"
        text = f"the {self.precision} graph {verdict} the estimator on {self.rows} rows"
        if not math.isfinite(self.largest_difference):
            return f"{text}: another answer for {self.where}"
        place = f", at {self.where}" if self.where else ""
        return f"{text}; largest difference {self.largest_difference:.2g}{place}"


@dataclass(frozen=True, slots=True)
class Converted:
    """A graph that answers as the estimator does."""

    onnx: bytes
    parity: ParityReport


class Disagrees(NotConvertible):
    """It converts, but not to a graph that answers alike."""

    def __init__(self, report: ParityReport) -> None:
        super().__init__(str(report))
        self.report = report


def convert_checked(
    model: Any, columns: InputColumns, sample: pd.DataFrame | None = None, reader: Reader = sklearn
) -> Converted:
    """Convert and compare, in one precision after the other that the reader knows.

    Raises NotConvertible, Disagrees, and UnknownColumns for a sample that does not fit.
    """
    rows = list(probes(model, columns, sample))
    for probe in rows:
        if probe.required:
            _expected(model, columns, probe)  # a sample that is wrong is no reason to judge the graph
    disagreement: Disagrees | None = None
    for precision in reader.precisions:
        try:
            onnx = reader.convert(model, columns, sample=sample, precision=precision)
            report = compare(model, onnx, columns, rows, precision=precision)
        except NotConvertible:
            if disagreement is None:
                raise
            break
        if report.agrees:
            return Converted(onnx, report)
        disagreement = disagreement or Disagrees(report)
    assert disagreement is not None
    raise disagreement


def compare(
    model: Any,
    onnx: bytes,
    columns: InputColumns,
    rows: Iterable[Probe],
    *,
    precision: Precision = "float",
) -> ParityReport:
    """Raises NotConvertible when the runtime cannot run the graph, UnknownColumns for a sample refused."""
    session = _session(onnx)
    compared, worst, where, agrees = 0, 0.0, "", True
    for probe in rows:
        expected = _expected(model, columns, probe)
        if expected is None:
            continue
        answered = _answered(session, columns, probe)
        for name, values in expected.items():
            difference, within = _difference(values, answered[name])
            if difference > worst:
                worst, where = difference, probe.where
            agrees = agrees and within
        compared += len(probe.frame)
    return ParityReport(compared, agrees and compared > 0, worst, where, precision)


def feeds(session: ort.InferenceSession, columns: InputColumns, frame: pd.DataFrame) -> dict[str, Array]:
    """A frame as the graph's inputs."""
    inputs = session.get_inputs()
    dtypes = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(string)": np.object_}
    if columns.numeric:
        return {inputs[0].name: frame.to_numpy(dtypes[inputs[0].type])}
    return {
        given.name: frame[[label]].to_numpy(dtypes[given.type])
        for given, label in zip(inputs, columns.labels, strict=True)
    }


def _session(onnx: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise NotConvertible(f"the runtime refuses the graph: {shortened(error)}") from error


def _expected(model: Any, columns: InputColumns, probe: Probe) -> Mapping[int, Array] | None:
    """The estimator's answers by position of the output; None where it refuses made-up rows."""
    given = columns.estimator_input(probe.frame)
    try:
        answers = {0: np.asarray(model.predict(given))}
        if hasattr(model, "predict_proba"):
            answers[1] = np.asarray(model.predict_proba(given))
    except (ValueError, TypeError) as error:
        if probe.required:
            raise UnknownColumns(f"the estimator refuses {probe.where}: {shortened(error)}") from error
        return None
    return answers


def _answered(session: ort.InferenceSession, columns: InputColumns, probe: Probe) -> list[Array]:
    try:
        return [np.asarray(out) for out in session.run(None, feeds(session, columns, probe.frame))]
    except ORT_ERRORS as error:
        raise NotConvertible(f"the runtime fails on {probe.where}: {shortened(error)}") from error


def _difference(expected: Array, answered: Array) -> tuple[float, bool]:
    """The largest absolute difference, and whether all are within the tolerance."""
    if expected.ndim == 1 and answered.shape == (len(expected), 1):
        answered = answered[:, 0]
    if expected.shape != answered.shape:
        return math.inf, False
    if "f" not in (expected.dtype.kind, answered.dtype.kind) or "O" in (
        expected.dtype.kind,
        answered.dtype.kind,
    ):
        same = np.array_equal(expected.astype(object), answered.astype(object))
        return (0.0, True) if same else (math.inf, False)
    if not np.array_equal(np.isfinite(expected), np.isfinite(answered)):
        return math.inf, False
    finite = np.isfinite(expected)
    sizes, gaps = np.abs(expected[finite]), np.abs(expected[finite] - answered[finite])
    if not gaps.size:
        return 0.0, True
    allowed = RELATIVE * sizes + ABSOLUTE * float(np.median(sizes))
    return float(gaps.max()), bool(np.all(gaps <= allowed))
