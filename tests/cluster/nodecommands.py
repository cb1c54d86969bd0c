"""The command lines of the programs that make a machine a node, and the files these read."""

from __future__ import annotations

import json
from pathlib import Path

from cluster import programs
from cluster.binaries import require
from cluster.containerd import SOCKET
from cluster.namespaces import POD_RANGE

CGROUP = "tenantry-node"
DNS_PORT = 53
KUBELET_PORT = 10250
_DNS_DOMAIN = "cluster.local"


def kubelet(directory: Path, kubeconfig: Path, name: str, address: str, authority: Path) -> list[str]:
    """The kubelet; `authority` signs the certificates of those it lets in."""
    resolver = directory / "resolv.conf"
    resolver.touch()
    settings = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": address,
        "port": KUBELET_PORT,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(authority)},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{CGROUP}",
        "clusterDNS": [address],
        "clusterDomain": _DNS_DOMAIN,
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        # A test machine may be old, have swap and be short of disk: none of that is what tests are about.
        "evictionHard": {"memory.available": "200Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        "failCgroupV1": False,
        "failSwapOn": False,
        # Images are loaded once; collecting one would make it missing.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "podLogsDir": str(directory / "pod-logs"),
        "resolvConf": str(resolver),
        "volumePluginDir": str(directory / "volume-plugins"),
    }
    return [
        str(require(programs.KUBELET)),
        f"--config={_write(directory / 'kubelet.json', settings)}",
        f"--kubeconfig={kubeconfig}",
        f"--root-dir={directory / 'kubelet'}",
        f"--hostname-override={name}",
        f"--node-ip={address}",
    ]


def kube_proxy(directory: Path, kubeconfig: Path, name: str, address: str) -> list[str]:
    """kube-proxy with nftables; node ports on the node's address only."""
    settings = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": POD_RANGE,
        # Zeros leave the kernel's own limits alone.
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
        "hostnameOverride": name,
        "mode": "nftables",
        "nodePortAddresses": [f"{address}/32"],
        "oomScoreAdj": 0,
    }
    return [str(require(programs.KUBE_PROXY)), f"--config={_write(directory / 'kube-proxy.json', settings)}"]


def coredns(directory: Path, kubeconfig: Path, address: str) -> list[str]:
    """CoreDNS for the cluster's names and no others."""
    corefile = directory / "Corefile"
    corefile.write_text(f"""
.:{DNS_PORT} {{
    bind {address}
    errors
    kubernetes {_DNS_DOMAIN} in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
        ttl 5
    }}
}}
""")
    return [str(require(programs.COREDNS)), f"-conf={corefile}"]


def for_kubelets(certificate: Path, key: Path) -> list[str]:
    """What the API server is told where there are kubelets: who may do what, and how to reach them."""
    return [
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
        f"--kubelet-client-certificate={certificate}",
        f"--kubelet-client-key={key}",
    ]


def _write(path: Path, settings: dict[str, object]) -> Path:
    path.write_text(json.dumps(settings, indent=2))
    return path
