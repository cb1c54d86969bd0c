"""The programs that tests start, and the Go packages they are built from."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SOURCES = Path(__file__).parent / "go"
_KUBERNETES_MODULE = "k8s.io/kubernetes"
_HELM_MODULE = "helm.sh/helm/v3"
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
    tags: str = ""

    @property
    def source(self) -> Path:
        """The folder with the go.mod and go.sum that pin this program."""
        return _SOURCES / self.project

    @property
    def build_flags(self) -> list[str]:
        """What `go build` is told besides the package."""
        return ["-trimpath", "-buildvcs=false", f"-tags={self.tags}", f"-ldflags={self.linker_flags}"]

    @property
    def linker_flags(self) -> str:
        """Stripped; and with what a release build carries, where something else judges a program by it."""
        stamps = _STAMPS[self.project](self.source / "go.mod") if self.project in _STAMPS else {}
        return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in stamps.items())])


def _kubernetes_stamps(go_mod: Path) -> dict[str, str]:
    """Its version, or clients would take it for v0.0.0."""
    version = _pinned_version(go_mod, _KUBERNETES_MODULE)
    major, minor, _ = version.removeprefix("v").split(".", 2)
    base = "k8s.io/component-base/version"
    return {
        f"{base}.gitVersion": version,
        f"{base}.gitMajor": major,
        f"{base}.gitMinor": minor,
        "k8s.io/client-go/pkg/version.gitVersion": version,
    }


def _helm_stamps(go_mod: Path) -> dict[str, str]:
    """Its version, and the Kubernetes that `helm template` and `helm lint` assume: the one of its client."""
    minor = _pinned_version(go_mod, "k8s.io/client-go").split(".")[1]
    stamps = {f"{_HELM_MODULE}/internal/version.version": _pinned_version(go_mod, _HELM_MODULE)}
    for package in ("chartutil", "lint/rules"):
        stamps[f"{_HELM_MODULE}/pkg/{package}.k8sVersionMajor"] = "1"
        stamps[f"{_HELM_MODULE}/pkg/{package}.k8sVersionMinor"] = minor
    return stamps


def _prometheus_stamps(go_mod: Path) -> dict[str, str]:
    """Its version, which the module writes as v0.314.0 for 3.14.0."""
    _, release, patch = _pinned_version(go_mod, "github.com/prometheus/prometheus").split(".")
    version = f"{release[0]}.{int(release[1:])}.{patch}"
    return {"github.com/prometheus/common/version.Version": version}


def _pinned_version(go_mod: Path, module: str) -> str:
    match = re.search(rf"^(?:require\s+|\s+){re.escape(module)} (v\S+)", go_mod.read_text(), re.MULTILINE)
    if match is None:
        raise ValueError(f"{go_mod} does not require {module}")
    return match[1]


_STAMPS: dict[str, Callable[[Path], dict[str, str]]] = {
    "kubernetes": _kubernetes_stamps,
    "helm": _helm_stamps,
    "prometheus": _prometheus_stamps,
}


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
KUBELET = _kubernetes("kubelet", "30 seconds")
KUBE_PROXY = _kubernetes("kube-proxy", "20 seconds")
# 3.4 lacks the progress notifications that let the API server answer lists from its cache.
ETCD = Program("etcd", "etcd", "go.etcd.io/etcd/server/v3", "30 seconds", ("--version",), (3, 5))
KWOK = Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", "1 minute")
VERSITYGW = Program("versitygw", "versitygw", "github.com/versity/versitygw/cmd/versitygw", "1 minute")

COREDNS = Program("coredns", "coredns", "github.com/coredns/coredns", "90 seconds", ("-version",), (1, 9))
HELM = Program("helm", "helm", f"{_HELM_MODULE}/cmd/helm", "1 minute", ("version",), (3, 14))
UNTT = Program(
    "untt", "helm-unittest", "github.com/helm-unittest/helm-unittest/cmd/helm-unittest", "1 minute"
)
KUBECONFORM = Program(
    "kubeconform", "kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "10 seconds"
)
PROMTOOL = Program(
    "promtool",
    "prometheus",
    "github.com/prometheus/prometheus/cmd/promtool",
    "2 minutes",
    ("--version",),
    (3, 0),
    tags="remove_all_sd",  # the clients of every cloud that could be asked for targets
)
PAUSE = Program("pause", "pause", ".", "10 seconds")

# In the order in which they are built: the shortest way to a first test.
FOR_TESTS = (
    *(ETCD, VERSITYGW, KUBE_APISERVER, KUBECTL, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER, KWOK),
    *(HELM, PROMTOOL),
)
_CONTROL_PLANE = (ETCD, KUBE_APISERVER, KUBECTL, KUBE_CONTROLLER_MANAGER, KUBE_SCHEDULER)
FOR_CHART = (HELM, UNTT, KUBECONFORM, PROMTOOL)
FOR_NODE = (*_CONTROL_PLANE, KUBELET, KUBE_PROXY, PAUSE, COREDNS, HELM, VERSITYGW)


def cache_directory() -> Path:
    """Where built programs stay: outside the clone, so that a new clone need not build them again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tenantry" / "cluster"
