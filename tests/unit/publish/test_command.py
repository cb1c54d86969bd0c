"""`tenantry publish` as a user in a shell sees it."""

from __future__ import annotations

import pickle
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from shell import Shell

_rng = np.random.default_rng(3)
ROWS = pd.DataFrame(_rng.normal(size=(80, 2)), columns=["size", "age"])
PRICE = ROWS["size"] * 3 - ROWS["age"]


@pytest.fixture
def ridge(tmp_path: Path) -> Path:
    path = tmp_path / "ridge.joblib"
    joblib.dump(Ridge().fit(ROWS, PRICE), path)
    return path


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    ROWS.head(3).to_csv(path, index=False)
    return path


def test_the_manifest_goes_to_stdout_and_the_report_to_stderr(
    tenantry: Shell, tmp_path: Path, ridge: Path, rows: Path
) -> None:
    outcome = tenantry(
        "publish", ridge, "--tenant", "acme", "--to", f"file://{tmp_path}/store", "--sample", rows
    )
    assert outcome.code == 0
    manifest = yaml.safe_load(outcome.out)
    assert manifest["metadata"] == {"name": "acme"}
    assert Path(manifest["spec"]["artifact"]["uri"].removeprefix("file://")).is_file()
    assert "agrees with the estimator on" in outcome.err


def test_apply_publishes_into_the_state_directory_and_applies(
    tenantry: Shell, state: Path, ridge: Path
) -> None:
    outcome = tenantry("publish", ridge, "--tenant", "acme", "--apply")
    assert (outcome.code, outcome.out) == (0, "tenantmodel.tenantry.dev/acme created\n")
    assert tenantry("publish", ridge, "--tenant", "acme", "--apply").out.endswith("acme unchanged\n")
    uri = yaml.safe_load(tenantry("get", "tm", "acme", "-o", "yaml").out)["spec"]["artifact"]["uri"]
    assert uri.startswith(f"file://{state}/models/acme/")


def test_the_printed_manifest_may_be_applied(tenantry: Shell, ridge: Path) -> None:
    printed = tenantry("publish", ridge, "--tenant", "Acme_1", "--name", "prices", "-n", "shop").out
    applied = tenantry("apply", "-f", "-", stdin=printed)
    assert (applied.code, applied.out) == (0, "tenantmodel.tenantry.dev/prices created\n")
    content = yaml.safe_load(tenantry("get", "tm", "prices", "-n", "shop", "-o", "yaml").out)
    assert content["spec"]["tenant"] == "Acme_1"


def test_a_tenant_that_is_no_label_is_told_its_name(tenantry: Shell, ridge: Path) -> None:
    outcome = tenantry("publish", ridge, "--tenant", "Acme_1")
    name = yaml.safe_load(outcome.out)["metadata"]["name"]
    assert f"the resource is named {name}; --name chooses another" in outcome.err


def test_what_does_not_convert_says_so(tenantry: Shell, tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(KernelRidge().fit(ROWS, PRICE)))
    outcome = tenantry("publish", path, "--tenant", "acme")
    assert outcome.code == 0
    assert outcome.out == tenantry("publish", path, "--tenant", "acme").out, "the same file, the same digest"
    assert yaml.safe_load(outcome.out)["spec"]["artifact"]["uri"].endswith(".skops")
    assert "published as skops: KernelRidge does not convert" in outcome.err


def test_a_published_skops_file_and_a_graph_may_be_published_again(
    tenantry: Shell, tmp_path: Path, ridge: Path
) -> None:
    kernel = tmp_path / "kernel.joblib"
    joblib.dump(KernelRidge().fit(ROWS, PRICE), kernel)
    for model, suffix in ((ridge, ".onnx"), (kernel, ".skops")):
        first = yaml.safe_load(tenantry("publish", model, "--tenant", "acme").out)["spec"]["artifact"]["uri"]
        again = tenantry("publish", first.removeprefix("file://"), "--tenant", "other")
        assert yaml.safe_load(again.out)["spec"]["artifact"]["uri"].endswith(suffix)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model.txt", b"x", "is no model file: its name must end in"),
        ("model.onnx", b"x", "not ONNX"),
        ("model.skops", b"x", "no skops file, or it is truncated"),
        ("model.pkl", b"x", "cannot be unpickled"),
        ("model.joblib", pickle.dumps([1, 2]), "list has no predict"),
    ],
)
def test_a_file_that_is_no_model_is_a_sentence(
    tenantry: Shell, tmp_path: Path, name: str, content: bytes, sentence: str
) -> None:
    (tmp_path / name).write_bytes(content)
    outcome = tenantry("publish", tmp_path / name, "--tenant", "acme")
    assert outcome.code == 1
    assert sentence in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("rows.csv", "size\n1\n", "lacks the column 'age'"),
        ("rows.csv", "size,age\n", "holds no row"),
        ("rows.csv", "size,age\nbig,old\n", "refuses a row of the sample"),
        ("rows.json", "{", "neither CSV nor a JSON list of records"),
    ],
)
def test_a_sample_that_does_not_fit_is_a_sentence(
    tenantry: Shell, tmp_path: Path, ridge: Path, name: str, content: str, sentence: str
) -> None:
    (tmp_path / name).write_text(content)
    outcome = tenantry("publish", ridge, "--tenant", "acme", "--sample", tmp_path / name)
    assert outcome.code == 1
    assert sentence in outcome.err


def test_a_missing_file_is_a_sentence(tenantry: Shell, tmp_path: Path) -> None:
    outcome = tenantry("publish", tmp_path / "none.onnx", "--tenant", "acme")
    assert outcome.code == 1
    assert "No such file or directory" in outcome.err


def test_a_name_that_is_no_label_is_refused_before_anything_is_uploaded(
    tenantry: Shell, ridge: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    answer = tenantry("publish", ridge, "--tenant", "acme", "--name", "Bad_Name", "--to", f"file://{store}")
    assert answer.code == 1
    assert "--name 'Bad_Name' is no DNS label" in answer.err
    assert not store.exists()
