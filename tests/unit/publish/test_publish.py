"""Publishing to a folder: what lands where, under which name, and that it answers as before."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from tenantry import Published, PublishError, publish
from tenantry.publishing.publisher import resource_name
from tenantry_core.names import LABEL_PATTERN
from tenantry_core.resources import TenantModel, from_manifest
from tenantry_predictor.runtimes import onnx
from tenantry_predictor.tables import TableReader

_rng = np.random.default_rng(3)
ROWS = pd.DataFrame(_rng.normal(size=(80, 2)), columns=["size", "age"])
PRICE = ROWS["size"] * 3 - ROWS["age"]


def published(tmp_path: Path, model: Any, **more: Any) -> Published:
    return publish(model, **{"tenant": "acme", "to": f"file://{tmp_path}/models", **more})


def path_of(result: Published) -> Path:
    return Path(result.uri.removeprefix("file://"))


def test_the_artifact_lies_under_its_digest_and_answers_as_the_model_does(tmp_path: Path) -> None:
    model = Ridge().fit(ROWS, PRICE)
    result = published(tmp_path, model, sample=ROWS)
    content = path_of(result).read_bytes()
    assert result.sha256 == hashlib.sha256(content).hexdigest()
    assert path_of(result) == tmp_path / "models" / "acme" / f"{result.sha256}.onnx"
    assert result.format == "onnx"
    assert result.parity is not None
    assert result.parity.agrees
    served = onnx.load_bytes(content)
    tensors = TableReader(served.inputs, served.columns).read(ROWS.to_json(orient="records").encode())
    np.testing.assert_allclose(
        served.predict(tensors, ["variable"])["variable"][:, 0], model.predict(ROWS), rtol=1e-4
    )


def test_publishing_again_changes_nothing(tmp_path: Path) -> None:
    model = Ridge().fit(ROWS, PRICE)
    first = published(tmp_path, model, sample=ROWS)
    before = path_of(first).stat()
    assert published(tmp_path, model, sample=ROWS) == first
    assert path_of(first).stat().st_mtime_ns == before.st_mtime_ns
    assert len(list((tmp_path / "models").rglob("*.*"))) == 2, "the artifact and its card"


def test_what_does_not_convert_is_published_as_skops_and_says_so(tmp_path: Path) -> None:
    result = published(tmp_path, KernelRidge().fit(ROWS, PRICE), sample=ROWS)
    assert result.format == "skops"
    assert path_of(result).suffix == ".skops"
    assert "published as skops: KernelRidge does not convert" in result.note


def test_what_predictors_would_not_open_is_not_published(tmp_path: Path) -> None:
    model = make_pipeline(FunctionTransformer(np.abs), Ridge()).fit(ROWS, PRICE)
    model.steps[0][1].func = model.steps[0][1].inverse_func = re.escape
    with pytest.raises(PublishError, match=r"neither converts to ONNX nor .* re\.escape"):
        published(tmp_path, model)
    assert not (tmp_path / "models").exists()


def test_a_graph_is_published_as_it_is(tmp_path: Path) -> None:
    content = path_of(published(tmp_path, LinearRegression().fit(ROWS, PRICE))).read_bytes()
    result = published(tmp_path / "other", content)
    assert path_of(result).read_bytes() == content
    assert result.parity is None


def test_bytes_that_are_no_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="not ONNX"):
        published(tmp_path, b"not a graph")


@pytest.mark.parametrize(
    "prefix", ["models/", "http://host/models", "s3://", "file://relative", "file:///a/../b"]
)
def test_a_prefix_that_is_none_is_refused(prefix: str) -> None:
    with pytest.raises(PublishError, match="is no prefix to publish to"):
        publish(LinearRegression().fit(ROWS, PRICE), tenant="acme", to=prefix)


@pytest.mark.parametrize("tenant", ["", "..", "a/b", "a b", "x" * 64])
def test_a_tenant_that_is_none_is_refused(tmp_path: Path, tenant: str) -> None:
    with pytest.raises(PublishError, match="is no tenant"):
        publish(LinearRegression().fit(ROWS, PRICE), tenant=tenant, to=f"file://{tmp_path}")


def test_s3_without_credentials_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(PublishError, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"):
        publish(LinearRegression().fit(ROWS, PRICE), tenant="acme", to="s3://models")


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file")
    with pytest.raises(PublishError, match="cannot be written"):
        published(tmp_path, LinearRegression().fit(ROWS, PRICE))


def test_an_estimator_that_is_not_fitted_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="is it fitted"):
        published(tmp_path, LinearRegression())


def test_a_transformer_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(PublishError, match="StandardScaler has no predict"):
        published(tmp_path, StandardScaler().fit(ROWS))


def test_the_manifest_is_a_tenant_model_that_pins_the_digest(tmp_path: Path) -> None:
    result = published(tmp_path, LinearRegression().fit(ROWS, PRICE))
    short = from_manifest(result.manifest(), TenantModel)
    assert (short.tenant, short.spec.tenant) == ("acme", "")
    assert (short.spec.artifact.uri, short.spec.artifact.sha256) == (result.uri, result.sha256)
    assert short.spec.artifact.effective_format == "onnx"
    other = published(tmp_path, LinearRegression().fit(ROWS, PRICE), tenant="Acme_1")
    named = from_manifest(other.manifest("prices", namespace="shop"), TenantModel)
    assert (named.key, named.tenant) == ("shop.prices", "Acme_1")


def test_tenants_that_are_no_labels_get_names_of_their_own() -> None:
    tenants = ["acme", "Acme", "ACME", "ac_me", "ac.me", "_", "x" * 63, "X" * 63, "a@b~c"]
    names = [resource_name(tenant) for tenant in tenants]
    assert names[0] == "acme"
    assert all(re.fullmatch(LABEL_PATTERN, name) for name in names)
    assert len(set(names)) == len(tenants)
