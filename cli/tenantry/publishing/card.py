"""The model card: what a person or a program wants to know of an artifact without opening it.

It lies beside the artifact, as `<digest>.card.json`. Predictors do not read it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from tenantry_predictor.runtimes.parity import ParityReport


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    name: str
    type: str
    """`number` or `string` for a column of a table; a tensor's datatype, such as `FP32`."""
    shape: tuple[int, ...] | None = None
    """Of a tensor; -1 is a free dimension."""


class Parity(msgspec.Struct, frozen=True):
    """How the graph's answers compare with the model's."""

    agrees: bool
    rows: int
    largest_difference: float | None
    """None where labels or missing values differ."""
    where: str
    precision: str

    @classmethod
    def of(cls, report: ParityReport) -> Parity:
        difference = report.largest_difference
        finite = difference if math.isfinite(difference) else None
        return cls(report.agrees, report.rows, finite, report.where, report.precision)


class Card(msgspec.Struct, frozen=True, kw_only=True):
    tenant: str
    uri: str
    sha256: str
    format: str
    size: int
    """Of the artifact's file, in bytes."""
    created: str
    """When it was first published: RFC 3339, UTC."""
    inputs: tuple[Input, ...]
    sample: Any
    """A `/predict` body of one row that the model answers; null where none was given."""
    libraries: Mapping[str, str]
    """Versions of what it was trained with."""
    parity: Parity | None
    metrics: Mapping[str, float]
    """As whoever published it gave them."""

    def encoded(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def succeeding(card: Card, earlier: bytes | None) -> Card:
    """The card with the date of the one that lies there; a card that is none is written anew."""
    try:
        created = msgspec.json.decode(earlier or b"", type=Card).created
    except msgspec.DecodeError:
        return card
    return msgspec.structs.replace(card, created=created)
