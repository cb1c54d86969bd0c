"""Users of the test API server, and the kubeconfig files that make a client one of them."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

CONTEXT = "tenantry-test"


@dataclass(frozen=True)
class User:
    """A line of the API server's token file."""

    name: str
    groups: tuple[str, ...] = ()
    token: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def line(self) -> str:
        """token,name,uid and, where there are any, "group,group"."""
        groups = f',"{",".join(self.groups)}"' if self.groups else ""
        return f"{self.token},{self.name},{self.name}{groups}\n"


def write_kubeconfig(path: Path, url: str, authority: Path, token: str) -> Path:
    """Writes a kubeconfig with one cluster and one user; JSON, which is YAML too."""
    name = CONTEXT
    cluster = {"server": url, "certificate-authority": str(authority)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(content, indent=2))
    return path
