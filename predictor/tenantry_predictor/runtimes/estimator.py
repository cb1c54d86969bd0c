"""A fitted estimator that answers with tensors, in the form that its graph would have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tenantry_core.wire import Tensor
from tenantry_predictor.runtimes.columns import InputColumns

_DATATYPE_OF_KIND = {
    "b": "BOOL",
    "i": "INT64",
    "u": "INT64",
    "f": "FP64",
    "O": "BYTES",
    "U": "BYTES",
    "T": "BYTES",
}
_DTYPE = {"BOOL": np.bool_, "INT64": np.int64, "FP64": np.float64}


class Estimator:
    """A model of scikit-learn's form and the columns that it takes."""

    def __init__(self, model: Any, columns: InputColumns) -> None:
        self.model = model
        self.columns = columns

    def inputs(self) -> tuple[Tensor, ...]:
        if self.columns.numeric:
            return (Tensor("input", "FP64", (-1, len(self.columns.labels))),)
        datatypes = {"number": "FP64", "string": "BYTES"}
        kinds = zip(self.columns.labels, self.columns.kinds, strict=True)
        return tuple(Tensor(label, datatypes[kind], (-1, 1)) for label, kind in kinds)

    def outputs(self) -> tuple[Tensor, ...]:
        classes = getattr(self.model, "classes_", None)
        if classes is None:
            return (Tensor("variable", "FP64", (-1, -1)),)
        label = Tensor("label", _DATATYPE_OF_KIND[np.asarray(classes).dtype.kind], (-1,))
        if not hasattr(self.model, "predict_proba"):
            return (label,)
        return (label, Tensor("probabilities", "FP64", (-1, len(classes))))

    def predict(self, tensors: Mapping[str, npt.NDArray[Any]], outputs: Sequence[str]) -> dict[str, Any]:
        """Raises ValueError or TypeError for input that the estimator refuses."""
        given = self.columns.estimator_input(self._frame(tensors))
        answers: dict[str, Any] = {}
        for output in self.outputs():
            if output.name in outputs:
                raw = (
                    self.model.predict_proba(given)
                    if output.name == "probabilities"
                    else self.model.predict(given)
                )
                answers[output.name] = _tensor(np.asarray(raw), output)
        return answers

    def _frame(self, tensors: Mapping[str, npt.NDArray[Any]]) -> pd.DataFrame:
        if self.columns.numeric:
            return pd.DataFrame(tensors["input"].astype(np.float64), columns=list(self.columns.labels))
        return self.columns.coerce(
            pd.DataFrame({name: tensors[name].ravel() for name in self.columns.labels})
        )


def _tensor(values: npt.NDArray[Any], output: Tensor) -> npt.NDArray[Any]:
    if output.datatype == "BYTES":
        return np.array([str(value) for value in values.ravel()], dtype=object).reshape(values.shape)
    typed: npt.NDArray[Any] = values.astype(_DTYPE[output.datatype])
    return typed.reshape(-1, 1) if len(output.shape) == 2 and typed.ndim == 1 else typed
