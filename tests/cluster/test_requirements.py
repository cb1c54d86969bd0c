"""A machine that cannot be a node says why before anything starts."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from cluster import requirements
from cluster.errors import StartError
from cluster.requirements import check_machine


@pytest.fixture(autouse=True)
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux and root, and none of the programs."""
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(requirements, "_PLUGIN_FOLDERS", (tmp_path / "plugins",))


def install(directory: Path, *names: str) -> None:
    """Executables that do nothing."""
    directory.mkdir(exist_ok=True)
    for name in names:
        (directory / name).touch(mode=0o755)


def test_other_users_than_root_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(StartError, match="needs root"):
        check_machine()


def test_other_systems_are_told_what_they_can_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(StartError, match="needs Linux; elsewhere use the control plane with fake nodes"):
        check_machine()


def test_missing_packages_come_with_the_command_that_installs_them(tmp_path: Path) -> None:
    install(tmp_path, "ip", "openssl", "unshare", "nsenter")
    packages = "containerd containernetworking-plugins nftables runc"
    with pytest.raises(StartError, match=f"apt-get install --no-install-recommends {packages}$"):
        check_machine()


def test_machine_that_has_everything_is_let_pass(tmp_path: Path) -> None:
    install(tmp_path, "ip", "openssl", "unshare", "nsenter", "containerd", "ctr", "runc", "nft")
    install(tmp_path / "plugins", "ptp")
    check_machine()
