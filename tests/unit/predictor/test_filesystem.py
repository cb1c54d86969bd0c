"""`file://` artifacts: regular files below the allowed prefixes, wherever links lead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenantry_predictor.errors import ArtifactNotFound, OutsideAllowedStorage
from tenantry_predictor.repositories.base import Source
from tenantry_predictor.repositories.filesystem import FileSystemModelRepository


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def fetch(root: Path, path: Path, prefix: str = "", tenant: str = "acme") -> bytes:
    source = Source("prod.acme", tenant, f"file://{path}", "onnx")
    chunks: list[bytes] = []
    FileSystemModelRepository([prefix or f"file://{root}/"]).fetch(source, chunks.append)
    return b"".join(chunks)


def test_file_below_the_prefix(root: Path) -> None:
    (root / "a.onnx").write_bytes(b"weights" * 300_000)
    assert fetch(root, root / "a.onnx") == b"weights" * 300_000


def test_link_within_the_prefix(root: Path) -> None:
    (root / "v1.onnx").write_bytes(b"one")
    (root / "latest.onnx").symlink_to("v1.onnx")
    assert fetch(root, root / "latest.onnx") == b"one"


def test_prefix_may_itself_be_a_link(root: Path) -> None:
    (root / "a.onnx").write_bytes(b"one")
    link = root.parent / "mounted"
    link.symlink_to(root)
    assert fetch(root, link / "a.onnx", f"file://{link}/") == b"one"


def test_link_out_of_the_prefix_is_refused(root: Path) -> None:
    secret = root.parent / "secret"
    secret.write_bytes(b"token")
    (root / "a.onnx").symlink_to(secret)
    (root / "folder").symlink_to(root.parent)
    for path in (root / "a.onnx", root / "folder" / "secret"):
        with pytest.raises(OutsideAllowedStorage, match="leads out"):
            fetch(root, path)


def test_sibling_with_the_same_beginning_is_no_part_of_the_prefix(root: Path) -> None:
    sibling = root.parent / "models-of-others"
    sibling.mkdir()
    (sibling / "a.onnx").write_bytes(b"theirs")
    (root / "a.onnx").symlink_to(sibling / "a.onnx")
    with pytest.raises(OutsideAllowedStorage):
        fetch(root, root / "a.onnx")


def test_prefixes_of_a_tenant_keep_links_within_the_tenant(root: Path) -> None:
    for tenant in ("acme", "globex"):
        (root / tenant).mkdir()
        (root / tenant / "a.onnx").write_bytes(tenant.encode())
    (root / "acme" / "b.onnx").symlink_to(root / "globex" / "a.onnx")
    prefix = f"file://{root}/{{tenant}}/"
    assert fetch(root, root / "acme" / "a.onnx", prefix) == b"acme"
    with pytest.raises(OutsideAllowedStorage):
        fetch(root, root / "acme" / "b.onnx", prefix)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_regular_file_is_not_read(root: Path, make: object) -> None:
    make(root / "a.onnx")  # type: ignore[operator]
    with pytest.raises(ArtifactNotFound, match="no regular file"):
        fetch(root, root / "a.onnx")


def test_missing_file(root: Path) -> None:
    with pytest.raises(ArtifactNotFound, match="There is no file"):
        fetch(root, root / "a.onnx")


def test_tag_changes_with_the_content(root: Path) -> None:
    path = root / "a.onnx"
    path.write_bytes(b"one")
    source = Source("prod.acme", "acme", f"file://{path}", "onnx")
    store = FileSystemModelRepository([f"file://{root}/"])
    before = store.tag(source)
    assert store.tag(source) == before
    path.write_bytes(b"three")
    assert store.tag(source) != before
