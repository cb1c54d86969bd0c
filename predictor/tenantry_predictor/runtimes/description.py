"""What a model file says about its input beside the estimator: names, kinds and a sample row."""

from __future__ import annotations

import json

import msgspec
import pandas as pd

from tenantry_predictor.runtimes.columns import InputColumns, Kind, UnknownColumns
from tenantry_predictor.runtimes.conversion import sample_body


class Description(msgspec.Struct, frozen=True):
    """What an estimator alone does not tell about its input."""

    labels: tuple[str, ...]
    kinds: tuple[Kind, ...]
    named: bool
    sample: str = ""
    """A `/predict` body of one row; empty where there is none."""

    @classmethod
    def of(cls, columns: InputColumns, sample: pd.DataFrame | None) -> Description:
        """Raises UnknownColumns when the sample does not fit."""
        body = sample_body(columns, sample) if sample is not None and len(sample) else ""
        return cls(columns.labels, columns.kinds, columns.named, body)

    @property
    def columns(self) -> InputColumns:
        return InputColumns(self.labels, self.kinds, self.named)

    def frame(self) -> pd.DataFrame | None:
        """The sample row. Raises UnknownColumns when it is not one of these columns."""
        if not self.sample:
            return None
        try:
            return self.columns.coerce(pd.DataFrame(json.loads(self.sample)))
        except ValueError as error:
            raise UnknownColumns(f"the sample stored in the file is no row: {error}") from error
