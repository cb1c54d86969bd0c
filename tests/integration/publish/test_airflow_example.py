"""`examples/airflow`: from a table for each tenant over S3 to predictions, with its own task functions."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from integration.local.running import Up
from integration.publish.conftest import Bucket
from integration.waiting import wait_for
from tenantry import Client, TenantryError
from tenantry.local_target import LocalTarget

DAGS = Path(__file__).resolve().parents[3] / "examples" / "airflow" / "dags"
TENANTS = ("acme", "globex")
INSTALL_SECONDS = 600
_rng = np.random.default_rng(5)


@pytest.fixture
def training() -> ModuleType:
    """The module of the task functions, as Airflow imports it: by its path."""
    spec = importlib.util.spec_from_file_location("tenant_training", DAGS / "tenant_training.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the tables, in an environment as a task has it."""
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("TRAINING_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MODELS", f"s3://{bucket.name}/models")
    monkeypatch.setenv("TENANTRY_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    return tmp_path / "data"


@pytest.fixture
def up(tmp_path: Path, bucket: Bucket, data: Path) -> Iterator[Up]:
    """A `tenantry up` whose pool reads the bucket."""
    with Up(tmp_path / "state") as up:
        storage = {"prefixes": [f"s3://{bucket.name}/"], "s3": {"endpoint": bucket.endpoint}}
        head = {
            "apiVersion": "tenantry.dev/v1alpha1",
            "kind": "PredictorPool",
            "metadata": {"name": "default"},
        }
        LocalTarget(up.directory).apply({**head, "spec": {"replicas": 2, "storage": storage}}, "default")
        yield up


def lay_table(folder: Path, tenant: str, slope: float) -> pd.DataFrame:
    rows = pd.DataFrame(_rng.normal(size=(200, 2)), columns=["visits", "spend"])
    rows.assign(target=slope * rows["visits"]).to_csv(folder / f"{tenant}.csv", index=False)
    return rows


def run(training: ModuleType) -> list[dict[str, Any]]:
    """The DAG's steps, in their order."""
    manifests = [training.train_and_publish(tenant) for tenant in training.tenants()]
    training.apply(manifests)
    return manifests


def answered(client: Client, tenant: str, rows: pd.DataFrame, version: str) -> pd.Series | None:
    """By this version; None while it is not the one that answers."""
    try:
        prediction = client.prediction(tenant, rows)
    except TenantryError:
        return None
    return prediction.values if prediction.route.version == version[:12] else None


def test_every_tenant_is_trained_stored_and_served(training: ModuleType, data: Path, up: Up) -> None:
    tables = {tenant: lay_table(data, tenant, slope) for slope, tenant in enumerate(TENANTS, start=1)}
    manifests = run(training)
    assert [manifest["metadata"]["name"] for manifest in manifests] == list(TENANTS)
    with Client(up.url) as client:
        for slope, (manifest, rows) in enumerate(zip(manifests, tables.values(), strict=True), start=1):
            tenant, version = manifest["metadata"]["name"], manifest["spec"]["artifact"]["sha256"]

            def serves(tenant: str = tenant, rows: pd.DataFrame = rows, version: str = version) -> Any:
                found = answered(client, tenant, rows, version)
                return found if found is None else (found,)

            [answers] = wait_for(serves, 60.0, f"{tenant} is answered by {version[:12]}")
            assert np.corrcoef(answers, slope * rows["visits"])[0, 1] > 0.9

        assert run(training) == manifests, "the same data, the same models"
        lay_table(data, "acme", -5.0)
        retrained = {m["metadata"]["name"]: m["spec"]["artifact"]["sha256"] for m in run(training)}
        rows = tables["acme"]
        wait_for(
            lambda: answered(client, "acme", rows, retrained["acme"]) is not None, 60.0, "acme is served anew"
        )
        assert answered(client, "globex", tables["globex"], retrained["globex"]) is not None


def test_the_card_tells_how_good_the_model_is(training: ModuleType, data: Path, bucket: Bucket) -> None:
    lay_table(data, "acme", 1.0)
    uri = training.train_and_publish("acme")["spec"]["artifact"]["uri"]
    key = uri.removeprefix(f"s3://{bucket.name}/").replace(".onnx", ".card.json")
    card = json.loads(bucket.read(key))
    assert card["metrics"]["mean_absolute_error"] < 0.5
    assert [given["name"] for given in card["inputs"]] == ["visits", "spend"]


@pytest.mark.timeout(2 * INSTALL_SECONDS + 300)
def test_airflow_reads_the_dag(tmp_path: Path) -> None:
    """With an Airflow of its own: it cannot share an environment with what Tenantry needs."""
    python = airflow_python()
    if python is None:
        pytest.skip("Airflow does not install here (see ~/.cache/tenantry/airflow/install.log)")
    program = (
        "from airflow.dag_processing.dagbag import DagBag\n"
        "bag = DagBag(dag_folder)\n"
        "assert not bag.import_errors, bag.import_errors\n"
        "dag = bag.dags['tenant_models']\n"
        "print({task.task_id: sorted(task.upstream_task_ids) for task in dag.tasks})\n"
    )
    ended = subprocess.run(
        [python, "-c", f"dag_folder = {str(DAGS)!r}\n{program}"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "AIRFLOW_HOME": str(tmp_path / "airflow"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "PYTHONPATH": str(DAGS),  # as Airflow has it for the folder of the DAGs
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    assert ended.stdout.splitlines()[-1] == str(
        {"tenants": [], "train_and_publish": ["tenants"], "apply": ["train_and_publish"]}
    )


def airflow_python() -> Path | None:
    """The interpreter of an environment with Airflow, made once; None where that failed."""
    folder = Path.home() / ".cache" / "tenantry" / "airflow"
    python, log = folder / "bin" / "python", folder / "install.log"
    if log.exists():
        return python if log.read_text().endswith("installed\n") else None
    folder.mkdir(parents=True, exist_ok=True)
    uv = shutil.which("uv")
    make = [uv, "venv", "--quiet"] if uv else [sys.executable, "-m", "venv"]
    pip = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    with log.open("w") as output:
        for command in (
            [*make, str(folder)],
            [*pip, "--quiet", "apache-airflow-core", "apache-airflow-task-sdk"],
        ):
            try:
                subprocess.run(command, stdout=output, stderr=output, timeout=INSTALL_SECONDS, check=True)
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
                return None
        output.write("installed\n")
    return python
