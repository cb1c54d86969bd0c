"""What lies beside an artifact in the disk tier: counted with it, gone with it, and its tenant's only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tenantry_predictor.repositories.disk import DiskTier

LIMIT = 1 << 20
OVERHEAD = 32
"""Bytes of a digest, which each such file begins with."""


def keep(tier: DiskTier, data: bytes, tenant: str = "acme") -> str:
    staged = tier.stage()
    try:
        staged.write(data)
        tier.keep(tenant, staged)
        return staged.sha256
    finally:
        staged.discard()


def is_kept(tier: DiskTier, sha256: str, tenant: str = "acme") -> bool:
    with tier.read(tenant, sha256) as path:
        return path is not None


def prepared_file(directory: Path) -> Path:
    [path] = (directory / "models").glob("*/*.*")
    return path


def test_it_outlives_a_restart_and_counts(tmp_path: Path) -> None:
    first = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(first, b"weights")
    first.prepare("acme", sha256, "onnx.1", b"faster")
    assert first.used_bytes == len("weights" + "faster") + OVERHEAD
    first.close()
    again = DiskTier(tmp_path, LIMIT, LIMIT)
    assert again.prepared("acme", sha256, "onnx.1") == b"faster"
    assert again.used_bytes == first.used_bytes


def test_of_another_form_tenant_or_artifact_there_is_none(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    mine, other = keep(tier, b"weights"), keep(tier, b"others")
    theirs = keep(tier, b"weights", "globex")
    tier.prepare("acme", mine, "onnx.1", b"faster")
    assert tier.prepared("acme", mine, "onnx.2") is None
    assert tier.prepared("acme", other, "onnx.1") is None
    assert tier.prepared("globex", theirs, "onnx.1") is None
    assert tier.prepared("acme", mine, "onnx.1") == b"faster"


def test_a_new_form_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(tier, b"weights")
    tier.prepare("acme", sha256, "onnx.1", b"of an older version")
    tier.prepare("acme", sha256, "onnx.2", b"faster")
    assert tier.prepared("acme", sha256, "onnx.1") is None
    assert tier.prepared("acme", sha256, "onnx.2") == b"faster"
    assert prepared_file(tmp_path).name.endswith(".onnx.2")
    assert tier.used_bytes == len("weights" + "faster") + OVERHEAD


@pytest.mark.parametrize("keep_bytes", [0, 10, OVERHEAD, OVERHEAD + 3])
def test_cut_short_it_goes_and_the_artifact_stays(tmp_path: Path, keep_bytes: int) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(tier, b"weights")
    tier.prepare("acme", sha256, "onnx.1", b"faster")
    os.truncate(prepared_file(tmp_path), keep_bytes)
    assert tier.prepared("acme", sha256, "onnx.1") is None
    assert list((tmp_path / "models").glob("*/*.*")) == []
    assert tier.used_bytes == len("weights")
    assert is_kept(tier, sha256)


def test_rot_is_found(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(tier, b"weights")
    tier.prepare("acme", sha256, "onnx.1", b"faster")
    path = prepared_file(tmp_path)
    path.write_bytes(path.read_bytes().replace(b"faster", b"fastes"))
    assert tier.prepared("acme", sha256, "onnx.1") is None


def test_another_tenants_file_in_its_place_is_none(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(tier, b"weights")
    keep(tier, b"weights", "globex")
    tier.prepare("acme", sha256, "onnx.1", b"of acme")
    theirs = prepared_file(tmp_path).read_bytes()
    tier.prepare("globex", sha256, "onnx.1", b"of globex")
    (tmp_path / "models" / "globex" / f"{sha256}.onnx.1").write_bytes(theirs)
    assert tier.prepared("globex", sha256, "onnx.1") is None


def test_it_is_evicted_with_its_artifact(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 100, LIMIT)
    sha256 = keep(tier, b"o" * 20)
    tier.prepare("acme", sha256, "onnx.1", b"faster")
    newer = keep(tier, b"n" * 60)
    assert not is_kept(tier, sha256)
    assert is_kept(tier, newer)
    assert tier.used_bytes == 60
    assert [path.name for path in (tmp_path / "models").glob("*/*")] == [newer]


def test_older_artifacts_make_room_for_it_and_never_its_own(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, 100, LIMIT)
    older, sha256 = keep(tier, b"o" * 40), keep(tier, b"n" * 40)
    tier.prepare("acme", sha256, "onnx.1", b"much larger than what there is room for")
    assert tier.prepared("acme", sha256, "onnx.1") is None
    tier.prepare("acme", sha256, "onnx.1", b"faster")
    assert tier.prepared("acme", sha256, "onnx.1") == b"faster"
    assert is_kept(tier, sha256)
    assert not is_kept(tier, older)


def test_it_goes_with_an_artifact_that_is_damaged(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(tier, b"weights")
    tier.prepare("acme", sha256, "onnx.1", b"faster")
    (tmp_path / "models" / "acme" / sha256).write_bytes(b"Weights")
    assert not is_kept(tier, sha256)
    assert tier.prepared("acme", sha256, "onnx.1") is None
    assert tier.used_bytes == 0


def test_alone_it_is_removed_at_start(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path, LIMIT, LIMIT)
    sha256 = keep(tier, b"weights")
    tier.prepare("acme", sha256, "onnx.1", b"faster")
    (tmp_path / "models" / "acme" / sha256).unlink()
    assert DiskTier(tmp_path, LIMIT, LIMIT).used_bytes == 0
    assert list((tmp_path / "models").glob("*/*")) == []
