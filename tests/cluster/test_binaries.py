"""Where a program is taken from."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster import binaries
from cluster.errors import BuildError
from cluster.programs import ETCD, KUBE_APISERVER


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is built and nothing is installed."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)


def install(directory: Path, program: str, answer: str) -> Path:
    """An executable of that name that prints the answer."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / program
    path.write_text(f"#!/bin/sh\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def test_recent_program_on_path_is_taken(tmp_path: Path) -> None:
    etcd = install(tmp_path / "path", "etcd", "etcd Version: 3.6.16")
    assert binaries.find(ETCD) == etcd


def test_old_program_on_path_is_passed_over(tmp_path: Path) -> None:
    install(tmp_path / "path", "kube-apiserver", "Kubernetes v1.32.9")
    built = install(binaries.cached_path(KUBE_APISERVER).parent, "kube-apiserver", "Kubernetes v1.36.3")
    assert binaries.find(KUBE_APISERVER) == built


def test_given_assets_come_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "path", "etcd", "etcd Version: 3.6.16")
    given = install(tmp_path / "assets", "etcd", "etcd Version: 3.5.0")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert binaries.find(ETCD) == given


def test_missing_program_names_the_command_that_builds_it() -> None:
    with pytest.raises(BuildError, match=r"etcd is not here.*python tests/cluster/build\.py"):
        binaries.require(ETCD)
