"""Readers of formats, whose packages may be missing."""

from __future__ import annotations

import sys

import pytest

from tenantry_predictor.runtimes.readers import FORMATS, BadArtifact, import_installed, reader_of


@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_a_missing_package_is_named_with_what_to_install(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, f"tenantry_predictor.runtimes.{package}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BadArtifact, match=rf"{package} is not installed here; install tenantry\[predictor"):
        reader_of(package)
    import_installed()  # goes without it


@pytest.mark.parametrize("model_format", FORMATS)
def test_every_format_has_a_reader(model_format: str) -> None:
    reader = reader_of(model_format)
    assert reader.precisions
    assert callable(reader.read)
    assert callable(reader.convert)
