"""kopf gets a pod's own credentials."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from kubernetes.aio.config import incluster_config

from tenantry_operator.kubernetes.login import login


def test_the_token_of_a_pods_service_account_is_told_without_its_scheme(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("secret")
    authority.write_text("a certificate")
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(token))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(authority))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "192.0.2.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    found = asyncio.run(login())
    assert (found.scheme, found.token) == ("Bearer", "secret")
    assert (found.server, found.ca_path) == ("https://192.0.2.1:443", str(authority))
