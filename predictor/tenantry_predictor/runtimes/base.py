"""What every runtime gives: a loaded model. What a custom one may give instead: `predict(data)`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from tenantry_core.values import DATATYPES, AnyArray
from tenantry_core.wire import Tensor
from tenantry_predictor.errors import LoadError

if TYPE_CHECKING:
    import pandas as pd  # 40 MB that most predictors never use

__all__ = ["DATATYPES", "AnyArray", "LoadError", "LoadedModel", "Model"]


class Model(ABC):
    """The least that a custom model offers. More that a predictor looks at, where it is there:

    `columns`: the names of the table's columns, or a mapping of names to datatypes as `{"store": "BYTES"}`.
    `sample`: a DataFrame whose first row the model answers; it tells the columns, too.
    `thread_safe`: true where `predict` may be called from several threads at a time.
    `close()`: called when the model leaves memory.
    """

    @abstractmethod
    def predict(self, data: pd.DataFrame) -> AnyArray:
        """One prediction a row: an array whose first dimension is the number of rows."""


class LoadedModel(ABC):
    """A model in memory. `predict` may be called from several threads at a time; `close` is called once."""

    engine: str
    """What computes: `onnx`, `sklearn`. Answered to whoever asks for the load."""
    blocks: ClassVar[bool] = False
    """`predict` may wait for something, so it is never called from the event loop's thread."""
    inputs: tuple[Tensor, ...]
    """True names, datatypes and shapes; -1 is a free dimension, the first one the rows. None: any table."""
    outputs: tuple[Tensor, ...]
    """Tensors only; the first is what `/predict` answers with."""
    columns: tuple[str, ...] = ()
    """Names of the table's columns: of the one [N,k] input, or of the [N,1] inputs in their order."""
    sample: bytes | None = None
    """A `/predict` body of one row that the model's author says it answers; None where there is none."""
    size_bytes: int
    """Bytes of memory that it holds, measured while it was loaded."""
    prepared: bytes = b""
    """What opening it made of the artifact, to be opened faster the next time; whoever keeps it takes it."""
    wasteful: bool = False
    """`prepare` makes it smaller."""

    @property
    def brief(self) -> bool:
        """A row takes microseconds, the first one too."""
        return False

    @abstractmethod
    def predict(self, tensors: Mapping[str, AnyArray], outputs: Sequence[str]) -> dict[str, AnyArray]:
        """The named outputs for one array an input (dtypes as DATATYPES says).

        Raises Problem (422) when the values do not suit the model.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back memory and processes."""

    def prepare(self, content: bytes) -> bytes:
        """Of the artifact, or of what was `prepared`: a form that takes less memory; the model goes on in it.

        For a `wasteful` model, once; others may predict meanwhile. Raises LoadError.
        """
        raise NotImplementedError
