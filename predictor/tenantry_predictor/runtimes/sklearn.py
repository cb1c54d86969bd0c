"""scikit-learn estimators from skops files."""

from __future__ import annotations

from tenantry_predictor.runtimes.conversion import Precision, convert
from tenantry_predictor.runtimes.skops_file import load as read

__all__ = ["convert", "precisions", "read"]

precisions: tuple[Precision, ...] = ("float", "double")
