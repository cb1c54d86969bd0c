"""The programs that tests start, and the Go packages they are built from."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent / "go"
_KUBERNETES_MODULE = "k8s.io/kubernetes"
# The oldest release whose CEL library and server-side apply behave as the tests expect.
_LEAST_KUBERNETES = (1, 33)


@dataclass(frozen=True)
class Program:
    """One executable: its name, the Go module below `go/` that pins it, and how to judge a found one."""

    name: str
    project: str
    package: str
    duration: str
    version_arguments: tuple[str, ...] = ()
    least_version: tuple[int, int] | None = None

    @property
    def source(self) -> Path:
        """The folder with the go.mod and go.sum that pin this program."""
        return _SOURCES / self.project

    @property
    def linker_flags(self) -> str:
        """Stripped; Kubernetes also carries its version, or clients would take it for v0.0.0."""
        flags = "-s -w"
        if self.project != "kubernetes":
            return flags
        version = _pinned_version(self.source / "go.mod", _KUBERNETES_MODULE)
        major, minor, _ = version.removeprefix("v").split(".", 2)
        base = "k8s.io/component-base/version"
        stamps = {
            f"{base}.gitVersion": version,
            f"{base}.gitMajor": major,
            f"{base}.gitMinor": minor,
            "k8s.io/client-go/pkg/version.gitVersion": version,
        }
        return " ".join([flags, *(f"-X {name}={value}" for name, value in stamps.items())])


def _pinned_version(go_mod: Path, module: str) -> str:
    match = re.search(rf"^(?:require\s+|\s+){re.escape(module)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{go_mod} does not require {module}")
    return match[1]


def _kubernetes(name: str, duration: str, *version_arguments: str) -> Program:
    return Program(
        name,
        "kubernetes",
        f"{_KUBERNETES_MODULE}/cmd/{name}",
        duration,
        version_arguments or ("--version",),
        _LEAST_KUBERNETES,
    )


KUBE_APISERVER = _kubernetes("kube-apiserver", "5 minutes")
KUBE_CONTROLLER_MANAGER = _kubernetes("kube-controller-manager", "1 minute")
KUBE_SCHEDULER = _kubernetes("kube-scheduler", "20 seconds")
KUBECTL = _kubernetes("kubectl", "20 seconds", "version", "--client")
# 3.4 lacks the progress notifications that let the API server answer lists from its cache.
ETCD = Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "30 seconds", ("--version",), (3, 5))
KWOK = Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "1 minute")
VERSITYGW = Program("versitygw", "versitygw", "github.com/versity/versitygw/cmd/versitygw", "1 minute")

# In the order in which they are built: the shortest way to a first test.
ALL = (ETCD, VERSITYGW, KUBE_APISERVER, KUBECTL, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, KWOK)


def cache_directory() -> Path:
    """Where built programs stay: outside the clone, so that a new clone need not build them again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tenantry" / "cluster"
