"""Artifacts in a real S3 server, which also stops and hangs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pytest

from artifacts import graphs
from cluster.s3server import S3Server
from integration.predictor.processes import PredictorProcess, model, problem
from integration.waiting import wait_for

BUCKET = "predictor-tests"
Upload = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> Any:
    client = boto3.client("s3", **s3_server.client_arguments)
    client.create_bucket(Bucket=BUCKET)
    return client


@pytest.fixture
def upload(bucket: Any) -> Upload:
    def upload(key: str, data: bytes, *, pinned: bool = True, tenant: str = "acme") -> dict[str, str]:
        bucket.put_object(Bucket=BUCKET, Key=key, Body=data)
        version = graphs.digest(data) if pinned else "-"
        return model(tenant.lower(), f"s3://{BUCKET}/{key}", version, tenant=tenant)

    return upload


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("local")


@pytest.fixture(scope="module")
def predictor(folder: Path, s3_server: S3Server, bucket: Any) -> Iterator[PredictorProcess]:
    flags = ["--s3-endpoint", s3_server.endpoint_url, "--s3-region", "us-east-1", "--ready-after", "0"]
    flags += ["--prefix", f"s3://{BUCKET}/", "--prefix", f"file://{folder}/"]
    with PredictorProcess(
        folder / "slot",
        *flags,
        AWS_ACCESS_KEY_ID=s3_server.access_key,
        AWS_SECRET_ACCESS_KEY=s3_server.secret_key,
    ) as process:
        yield process


def local(folder: Path, name: str, weight: float) -> dict[str, str]:
    """An artifact of another tenant in another store."""
    data = graphs.linear([weight])
    (folder / name).write_bytes(data)
    return model(f"local-{name}", f"file://{folder}/{name}", graphs.digest(data), tenant=f"t-{name}")


def test_fetched_hashed_and_kept(predictor: PredictorProcess, upload: Upload) -> None:
    data = graphs.linear([1, 2], padding=3 << 20)
    asked = upload("acme/large model.onnx".replace(" ", "+"), data)
    assert predictor.predict(asked, [[1, 1]]).json() == [3.0]
    [kept] = (predictor.cache / "models" / "acme").iterdir()
    assert kept.read_bytes() == data


def test_unpinned_object_is_resolved(predictor: PredictorProcess, upload: Upload) -> None:
    data = graphs.linear([2, 2])
    report = predictor.load(upload("acme/unpinned.onnx", data, pinned=False)).json()
    assert report["sha256"] == graphs.digest(data)


def test_an_artifact_for_each_user(predictor: PredictorProcess, upload: Upload) -> None:
    for user in (1, 2):
        asked = upload(f"users/{user}.onnx", graphs.linear([user, user]), pinned=False)
        assert predictor.predict(asked, [[1, 1]]).json() == [2.0 * user]


def test_missing_object_and_bucket_and_wrong_digest(predictor: PredictorProcess, upload: Upload) -> None:
    there = upload("acme/there.onnx", graphs.linear([3, 3]))
    for asked, reason in (
        (model("m", f"s3://{BUCKET}/acme/none.onnx"), "ArtifactNotFound"),
        (there | {"Tenantry-Version": "1" * 64}, "DigestMismatch"),
        (model("m", "s3://elsewhere/a.onnx"), "OutsideAllowedStorage"),
    ):
        assert problem(predictor.predict(asked, [[1, 1]]))["reason"] == reason


def test_wrong_credentials_are_the_platforms_fault(
    tmp_path: Path, s3_server: S3Server, upload: Upload
) -> None:
    asked = upload("acme/there.onnx", graphs.linear([3, 3]))
    flags = ["--s3-endpoint", s3_server.endpoint_url, "--s3-region", "us-east-1"]
    secret = {"AWS_ACCESS_KEY_ID": s3_server.access_key, "AWS_SECRET_ACCESS_KEY": "wrong"}
    with PredictorProcess(tmp_path, *flags, **secret) as predictor:
        assert problem(predictor.predict(asked, [[1, 1]]))["reason"] == "StorageUnavailable"


def test_store_gone(predictor: PredictorProcess, upload: Upload, s3_server: S3Server, folder: Path) -> None:
    warm, cold = (
        upload("acme/warm.onnx", graphs.linear([4, 4])),
        upload("acme/cold.onnx", graphs.linear([5, 5])),
    )
    predictor.predict(warm, [[1, 1]])
    s3_server.stop()
    try:
        assert predictor.predict(warm, [[1, 1]]).json() == [8.0]
        refused = predictor.predict(cold, [[1, 1]])
        assert problem(refused)["reason"] == "StorageUnavailable"
        assert int(refused.headers["retry-after"]) >= 1
        tried = predictor.metric("tenantry_predictor_load_failures_total")
        assert problem(predictor.predict(cold, [[1, 1]]))["reason"] == "StorageUnavailable"
        assert predictor.metric("tenantry_predictor_load_failures_total") == tried, "no second try so soon"
        assert predictor.predict(local(folder, "gone", 7), [[1]]).json() == [7.0]
    finally:
        s3_server.start()
    wait_for(lambda: predictor.predict(cold, [[1, 1]]).status_code == 200, 60, "the cold model is served")


def test_store_that_hangs_delays_no_other_load(
    predictor: PredictorProcess, upload: Upload, s3_server: S3Server, folder: Path
) -> None:
    warm = upload("acme/warm.onnx", graphs.linear([4, 4]))
    cold = [upload(f"t{i}/cold.onnx", graphs.linear([i, i]), tenant=f"t{i}") for i in range(100)]
    predictor.predict(warm, [[1, 1]])
    s3_server.pause()
    try:
        with ThreadPoolExecutor(100) as threads:
            stuck = [
                threads.submit(predictor.predict, asked | {"Tenantry-Timeout": "8s"}, [[1, 1]])
                for asked in cold
            ]
            wait_for(lambda: predictor.slot().get("inFlight", 0) == 100, 60, "all wait for the store")
            others = [local(folder, f"hung{i}", i) for i in range(1, 11)]
            assert [predictor.predict(asked, [[1]]).json() for asked in others] == [
                [float(i)] for i in range(1, 11)
            ]
            assert predictor.predict(warm, [[1, 1]]).json() == [8.0]
            late = predictor.predict(cold[0] | {"Tenantry-Timeout": "100ms"}, [[1, 1]])
            assert late.status_code == 504
            assert not all(future.done() for future in stuck)
            assert {future.result().status_code for future in stuck} <= {503, 504}
    finally:
        s3_server.resume()
    wait_for(
        lambda: predictor.predict(cold[0], [[1, 1]]).status_code == 200, 60, "served once the store is back"
    )
