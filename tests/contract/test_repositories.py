"""What every store does, whichever it is: files, a real S3 server, a store that a package brings."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from cluster.s3server import S3Server
from contract.cutting_proxy import CuttingProxy
from contract.hub_server import HubServer, install_hub_store
from tenantry_predictor.errors import ArtifactNotFound, LoadError, StorageUnavailable
from tenantry_predictor.repositories import s3
from tenantry_predictor.repositories.base import ModelRepository, Source, StoreSettings
from tenantry_predictor.repositories.stores import open_stores

BUCKET = "contract"
LARGE = bytes(range(256)) * 16_384  # 4 MiB


@dataclass
class Place:
    """A store, and how a test puts something into it."""

    prefix: str
    store: ModelRepository
    put: Callable[[str, bytes], object]
    proxy: CuttingProxy | None = None
    """Before the server, where there is one."""

    def source(self, name: str) -> Source:
        return Source("models.acme", "acme", f"{self.prefix}{name}", "onnx")

    def fetch(self, name: str) -> tuple[bytes, str]:
        chunks: list[bytes] = []
        tag = self.store.fetch(self.source(name), chunks.append)
        return b"".join(chunks), tag


@pytest.fixture(scope="module")
def hub_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = str(install_hub_store(tmp_path_factory.mktemp("hub-store")))
    sys.path.append(folder)
    yield
    sys.path.remove(folder)


def file_place(tmp_path: Path) -> Place:
    prefix = f"file://{tmp_path}/"
    stores = open_stores(StoreSettings((prefix,)))
    return Place(prefix, stores["file"], lambda name, data: (tmp_path / name).write_bytes(data))


def s3_place(stack: ExitStack, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.secret_key)
    monkeypatch.setattr(s3, "_READ_SECONDS", 10.0)
    client = boto3.client("s3", **server.client_arguments)
    if BUCKET not in [bucket["Name"] for bucket in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=BUCKET)
    proxy = stack.enter_context(CuttingProxy(int(server.endpoint_url.rsplit(":", 1)[1])))
    settings = StoreSettings(
        (f"s3://{BUCKET}/",), s3_endpoint=f"http://127.0.0.1:{proxy.port}", s3_region="us-east-1"
    )
    return Place(
        f"s3://{BUCKET}/",
        open_stores(settings)["s3"],
        lambda name, data: client.put_object(Bucket=BUCKET, Key=name, Body=data),
        proxy,
    )


def hub_place(stack: ExitStack) -> Place:
    server = stack.enter_context(HubServer())
    proxy = stack.enter_context(CuttingProxy(server.port))
    prefix = f"hub://127.0.0.1:{proxy.port}/"
    stores = open_stores(StoreSettings((prefix,)))
    return Place(prefix, stores["hub"], lambda name, data: server.files.update({f"/{name}": data}), proxy)


over_a_network = pytest.mark.parametrize("place", ["s3", "hub"], indirect=True)


@pytest.fixture(params=["file", "s3", "hub"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub_package: None
) -> Iterator[Place]:
    with ExitStack() as stack:
        if request.param == "file":
            yield file_place(tmp_path)
        elif request.param == "s3":
            yield s3_place(stack, request.getfixturevalue("s3_server"), monkeypatch)
        else:
            yield hub_place(stack)


@pytest.mark.parametrize("data", [b"", b"one", LARGE], ids=["empty", "small", "large"])
def test_all_bytes_and_the_tag_of_just_these(place: Place, data: bytes) -> None:
    place.put("a.onnx", data)
    content, tag = place.fetch("a.onnx")
    assert content == data
    assert tag
    assert tag == place.store.tag(place.source("a.onnx"))


def test_the_tag_changes_with_the_content_only(place: Place) -> None:
    place.put("a.onnx", b"one")
    before = place.store.tag(place.source("a.onnx"))
    assert place.store.tag(place.source("a.onnx")) == before
    place.put("a.onnx", b"other")
    assert place.store.tag(place.source("a.onnx")) != before
    assert place.fetch("a.onnx") == (b"other", place.store.tag(place.source("a.onnx")))


def test_names_of_any_admitted_form(place: Place) -> None:
    for name in ("a+b.onnx", "user@example.com.onnx", "a:b~c_d-e.onnx", "a=b&c.onnx", "ünï.onnx"):
        if name.isascii() or not place.prefix.startswith("hub"):  # a URL of a web server is ASCII
            place.put(name, name.encode())
            assert place.fetch(name)[0] == name.encode()


def test_what_is_not_there(place: Place) -> None:
    for call in (lambda: place.fetch("none.onnx"), lambda: place.store.tag(place.source("none.onnx"))):
        with pytest.raises(ArtifactNotFound, match=r"none\.onnx"):
            call()


def test_many_at_a_time(place: Place) -> None:
    contents = {f"{number}.onnx": bytes([number]) * 100_000 for number in range(24)}
    for name, data in contents.items():
        place.put(name, data)
    with ThreadPoolExecutor(12) as threads:
        fetched = list(threads.map(lambda name: place.fetch(name)[0], contents))
    assert fetched == list(contents.values())


def test_what_the_taker_raises_ends_the_fetch_and_leaves_the_store_usable(place: Place) -> None:
    place.put("a.onnx", LARGE)

    def refuse(_: bytes) -> None:
        raise LoadError("LoadFailed", "The artifact is too large.")

    for _ in range(3):
        with pytest.raises(LoadError, match="too large"):
            place.store.fetch(place.source("a.onnx"), refuse)
    assert place.fetch("a.onnx")[0] == LARGE


@over_a_network
def test_goes_on_where_the_connection_broke(place: Place) -> None:
    proxy = place.proxy
    assert proxy is not None
    place.put("a.onnx", LARGE)
    proxy.cuts = [1 << 20, 1 << 20]
    content, tag = place.fetch("a.onnx")
    assert content == LARGE
    assert tag == place.store.tag(place.source("a.onnx"))
    assert proxy.cuts == []
    again = [request for request in proxy.requests if b"range: bytes=" in request]
    assert len(again) == 2
    assert all(b"if-match: " + tag.lower().encode() in request for request in again)
    assert proxy.answered_bytes < len(LARGE) + 100_000


@over_a_network
def test_what_is_replaced_meanwhile_is_never_mixed(place: Place) -> None:
    proxy = place.proxy
    assert proxy is not None
    place.put("a.onnx", LARGE)
    proxy.cuts = [1 << 20]
    proxy.on_cut = lambda: place.put("a.onnx", LARGE[::-1])
    with pytest.raises(StorageUnavailable, match="was replaced while it was read"):
        place.fetch("a.onnx")
    assert place.fetch("a.onnx")[0] == LARGE[::-1]


@over_a_network
def test_a_connection_that_breaks_again_and_again(place: Place) -> None:
    proxy = place.proxy
    assert proxy is not None
    place.put("a.onnx", LARGE)
    proxy.cuts = [1 << 20, *[0] * 50]
    with pytest.raises(StorageUnavailable, match="cannot be read"):
        place.fetch("a.onnx")


@over_a_network
def test_a_server_that_is_away(place: Place) -> None:
    proxy = place.proxy
    assert proxy is not None
    proxy.stop()
    for call in (lambda: place.fetch("a.onnx"), lambda: place.store.tag(place.source("a.onnx"))):
        with pytest.raises((StorageUnavailable, OSError)):
            call()


def test_a_scheme_that_nobody_brings_is_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    stores: dict[str, Any] = dict(open_stores(StoreSettings(("ftp://host/models/", "s3://models/"))))
    assert stores.keys() == {"file", "s3"}
    assert "no store for ftp:// is installed" in caplog.text
