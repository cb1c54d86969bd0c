"""Models of other people's packages, served in this process: the formats that entry points bring.

An entry point of the group `tenantry.models` is named like the format, and calls for a path: what it returns
is a LoadedModel, or anything with `predict(data: DataFrame)`. Of the latter three attributes are looked at:
`columns` and `sample` tell what it takes, `thread_safe` lifts the lock around `predict`.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tenantry_core.problems import Problem
from tenantry_core.values import DATATYPES, AnyArray
from tenantry_core.wire import Tensor
from tenantry_predictor.errors import LoadError, ProbeFailed
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.runtimes.memory import METER

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

ENTRY_POINTS = "tenantry.models"
OUTPUT = "predictions"
"""Name of the one output."""

Factory = Callable[[Path], Any]


class CustomModel(LoadedModel):
    """Calls `predict` with a frame, one call at a time unless the model's `thread_safe` is true."""

    engine = "custom"
    blocks = True  # code of others may wait for anything: never in the event loop's thread

    def __init__(self, model: Any) -> None:
        """Raises LoadError; ProbeFailed where the model does not answer its own sample."""
        if not callable(getattr(model, "predict", None)):
            raise LoadError(
                "LoadFailed", f"The format's package made a {_kind(model)}, which cannot predict."
            )
        self._model = model
        self._turn: AbstractContextManager[Any] = (
            contextlib.nullcontext() if getattr(model, "thread_safe", False) else threading.Lock()
        )
        self.size_bytes = 0
        sample = _sample(model)
        self.inputs = _inputs(model, sample)
        self.columns = tuple(tensor.name for tensor in self.inputs)
        self.outputs = (Tensor(OUTPUT, "FP64", (-1,)),)
        self._declared = bool(self.inputs)
        if sample is not None:
            self.sample = sample.to_json(orient="records", double_precision=15).encode()
            self.outputs = (self._answered(sample),)

    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        import pandas as pd

        with _problems(_kind(self._model)):
            frame = pd.DataFrame({name: values.reshape(-1) for name, values in tensors.items()})
            answer = self._ask(frame)
        [declared] = self.outputs
        expected = DATATYPES[declared.datatype]
        if self._declared and answer.dtype != expected:
            if not np.can_cast(answer.dtype, expected, "same_kind") or expected.kind == "O":
                found = _tensor(answer).datatype
                raise _failed(f"it answers {found}, not {declared.datatype} as for its sample row")
            answer = answer.astype(expected)
        return dict.fromkeys(outputs, answer)

    def close(self) -> None:
        """Calls the model's own `close`, where it has one."""
        model, self._model = self._model, None
        if callable(close := getattr(model, "close", None)):
            try:
                close()
            except (Exception, SystemExit) as error:  # noqa: BLE001 - code of strangers; it is gone anyway
                _log("%s failed to close", _kind(model), error)
        METER.freed(self.size_bytes)

    def _answered(self, sample: pd.DataFrame) -> Tensor:
        try:
            with _problems(_kind(self._model)):
                return _tensor(self._ask(sample))
        except Problem as problem:
            raise ProbeFailed(
                f"The artifact does not answer its own sample row: {problem.error}"
            ) from problem

    def _ask(self, frame: pd.DataFrame) -> AnyArray:
        with self._turn:
            given = self._model.predict(frame)
        try:
            answer = np.asarray(given)
            if answer.dtype == object:  # as pandas holds mixed columns; they may be numbers all the same
                answer = np.array(answer.tolist())
        except ValueError as error:
            raise _failed(f"it gave no array: {_words(error)}") from error
        if answer.ndim == 0 or len(answer) != len(frame):
            found = "one value" if answer.ndim == 0 else f"{len(answer)} predictions"
            raise _failed(f"it gave {found} for {len(frame)} rows; `predict` gives one for each row")
        if answer.dtype.kind in "OUT":
            texts = [str(value) for value in answer.ravel().tolist()]
            return np.array(texts, dtype=object).reshape(answer.shape)
        if answer.dtype not in DATATYPES.values():
            raise _failed(
                f"it gave an array of {answer.dtype}; numbers, booleans and strings can be answered"
            )
        return answer


def opener(model_format: str) -> Callable[[Path], LoadedModel]:
    """What opens files of an installed format. Raises LoadError."""
    for entry_point in entry_points(group=ENTRY_POINTS, name=model_format):
        factory = _imported(entry_point)
        return lambda path: _open(factory, entry_point.value, path)
    raise LoadError(
        "LoadFailed",
        f"No runtime for the format {model_format!r} is installed here: the predictor's image needs a package"
        f" with an entry point of this name in the group {ENTRY_POINTS}.",
    )


def _imported(entry_point: EntryPoint) -> Factory:
    import pandas  # noqa: F401 - 40 MB that are no model's

    try:
        factory: Factory = entry_point.load()
    except Exception as error:  # a package of strangers: what it can raise has no limits
        logger.exception("%s cannot be imported", entry_point.value)
        raise LoadError("LoadFailed", f"{entry_point.value} cannot be imported: {_words(error)}.") from error
    return factory


def _open(factory: Factory, name: str, path: Path) -> LoadedModel:
    with METER.measure(path.stat().st_size) as size:
        try:
            made = factory(path)
            model = made if isinstance(made, LoadedModel) else CustomModel(made)
        except LoadError:
            raise
        except (Exception, SystemExit) as error:  # code of strangers, as above
            if isinstance(error, FileNotFoundError) and not path.exists():
                raise  # the cache made room meanwhile: it is fetched again
            _log("%s does not open the file", name, error)
            raise LoadError("LoadFailed", f"{name} does not open the file: {_words(error)}.") from error
    if isinstance(model, CustomModel) or not hasattr(model, "size_bytes"):
        model.size_bytes = size()
    return model


def _sample(model: Any) -> pd.DataFrame | None:
    """One row. Raises LoadError."""
    import pandas as pd

    given = getattr(model, "sample", None)
    if given is None:
        return None
    if not isinstance(given, pd.DataFrame) or given.empty:
        raise LoadError(
            "LoadFailed", f"The model's `sample` is a {_kind(given)}, not a DataFrame with a row."
        )
    return given.head(1)


def _inputs(model: Any, sample: pd.DataFrame | None) -> tuple[Tensor, ...]:
    """A [N,1] input for each column that the model names; none for one that takes what comes."""
    columns = getattr(model, "columns", None)
    if columns is None:
        columns = {} if sample is None else {str(name): _datatype(sample[name]) for name in sample}
    elif not isinstance(columns, Mapping):
        columns = dict.fromkeys(map(str, columns), "FP64")
    for name, datatype in columns.items():
        if datatype not in DATATYPES:
            known = ", ".join(DATATYPES)
            raise LoadError(
                "LoadFailed", f"The model's column {name!r} is of {datatype!r}; known are {known}."
            )
    return tuple(Tensor(str(name), datatype, (-1, 1)) for name, datatype in columns.items())


def _datatype(values: pd.Series) -> str:
    """What a column of the sample takes; its numbers in their widest form."""
    wide = {"b": "BOOL", "i": "INT64", "u": "UINT64", "f": "FP64"}
    if values.dtype.kind in "mM":
        raise LoadError(
            "LoadFailed", f"The sample's column {values.name!r} holds times; JSON has strings only."
        )
    return wide.get(values.dtype.kind, "BYTES")


def _tensor(answer: AnyArray) -> Tensor:
    datatype = next(name for name, dtype in DATATYPES.items() if dtype == answer.dtype)
    return Tensor(OUTPUT, datatype, (-1, *answer.shape[1:]))


@contextlib.contextmanager
def _problems(name: str) -> Iterator[None]:
    """What a model's code raises, as an answer: a ValueError says that the input is wrong."""
    try:
        yield
    except Problem:
        raise
    except (Exception, SystemExit) as error:
        _log("%s failed", name, error)
        if isinstance(error, ValueError):
            raise Problem(
                422, f"The model refused the input: {_words(error)}.", reason="InputRefused"
            ) from error
        raise _failed(f"it raised {_words(error)}") from error


def _log(message: str, name: str, error: BaseException) -> None:
    """A ValueError is the model's word on a file or an input; of anything else its author wants the trace."""
    if isinstance(error, ValueError):
        logger.info(f"{message}: %s", name, error)
    else:
        logger.error(message, name, exc_info=error)


def _failed(words: str) -> Problem:
    return Problem(500, f"The model failed: {words}.", reason="ModelFailed")


def _kind(model: Any) -> str:
    return type(model).__name__


def _words(error: BaseException) -> str:
    """One line, without a trace."""
    line = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {line}" if line else type(error).__name__
