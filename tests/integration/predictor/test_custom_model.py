"""The example of a custom model: installed as a package, served by a predictor that trusts its format."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.predictor.processes import PredictorProcess, model, problem

EXAMPLE = Path(__file__).parents[3] / "examples" / "custom-model"
FORMAT = "seasonal-naive"
ROWS = [{"store": "south", "week": 5}, {"store": "north", "week": 0}]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PredictorProcess]:
    folder = tmp_path_factory.mktemp("custom")
    packages = folder / "packages"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", "--target", packages, EXAMPLE], check=True)
    flags = ["--prefix", f"file://{EXAMPLE}/", "--prefix", f"file://{folder}/", "--ready-after", "0"]
    trusted = ["--trust-format", FORMAT, "--trust-format", "not-installed"]
    with PredictorProcess(folder / "process", *flags, *trusted, PYTHONPATH=str(packages)) as process:
        yield process


def asked(path: Path, model_format: str = FORMAT) -> dict[str, str]:
    return model("forecasts", f"file://{path}", model_format=model_format)


def test_it_is_loaded_probed_and_measured(predictor: PredictorProcess) -> None:
    report = predictor.load(asked(EXAMPLE / "models" / "acme.json")).json()
    assert report["engine"] == "custom"
    assert report["probed"] is True
    assert report["columns"] == ["store", "week"]
    assert [tensor["datatype"] for tensor in report["inputs"]] == ["BYTES", "INT64"]
    assert report["outputs"] == [{"name": "predictions", "datatype": "FP64", "shape": [-1]}]
    assert report["sizeBytes"] >= (EXAMPLE / "models" / "acme.json").stat().st_size


def test_it_answers_tables_and_tensors(predictor: PredictorProcess) -> None:
    served = asked(EXAMPLE / "models" / "acme.json")
    assert predictor.predict(served, ROWS).json() == [38.0, 12.0]
    inputs = [
        {"name": "store", "datatype": "BYTES", "shape": [1, 1], "data": ["north"]},
        {"name": "week", "datatype": "INT64", "shape": [1, 1], "data": [3]},
    ]
    [output] = predictor.infer(served, {"inputs": inputs}).json()["outputs"]
    assert output == {"name": "predictions", "datatype": "FP64", "shape": [1], "data": [11.0]}


def test_what_it_refuses_is_told(predictor: PredictorProcess) -> None:
    served = asked(EXAMPLE / "models" / "acme.json")
    refused = predictor.predict(served, [{"store": "west", "week": 0}])
    assert refused.status_code == 422
    assert "there is no store 'west'" in problem(refused)["error"]


def test_a_file_that_it_cannot_open_is_named(predictor: PredictorProcess) -> None:
    damaged = predictor.log.parents[1] / "damaged.json"
    damaged.write_text("{}")
    refused = predictor.predict(asked(damaged), ROWS)
    assert refused.status_code == 503
    assert "at least one store" in problem(refused)["error"]


def test_a_format_that_no_package_brings_says_so(predictor: PredictorProcess) -> None:
    refused = predictor.load(asked(EXAMPLE / "models" / "acme.json", "not-installed"))
    assert refused.status_code == 503
    assert "'not-installed'" in problem(refused)["error"]


def test_a_format_that_the_pool_does_not_trust_is_refused(predictor: PredictorProcess) -> None:
    refused = predictor.load(asked(EXAMPLE / "models" / "acme.json", "xgboost"))
    assert problem(refused)["reason"] == "FormatNotTrusted"
