"""The command lines of the control plane's parts."""

from __future__ import annotations

from pathlib import Path

from cluster import programs
from cluster.binaries import require
from cluster.ports import LOOPBACK

SERVICE_RANGE = "10.96.0.0/16"
_FAKE_NODE_STAGES = Path(__file__).parent / "fake-nodes.yaml"


def etcd(directory: Path, address: str, port: int, peer_port: int) -> list[str]:
    """A single member that does not wait for the disk."""
    client, peer = f"http://{address}:{port}", f"http://{address}:{peer_port}"
    return [
        str(require(programs.ETCD)),
        "--name=test",
        f"--data-dir={directory}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=test={peer}",
        "--unsafe-no-fsync",
    ]


def kube_apiserver(certificates: Path, tokens: Path, address: str, port: int, etcd_port: int) -> list[str]:
    """Users from the token file, and service accounts signed with the key it makes for itself."""
    key = certificates / "apiserver.key"
    return [
        str(require(programs.KUBE_APISERVER)),
        f"--etcd-servers=http://{address}:{etcd_port}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        f"--cert-dir={certificates}",
        f"--token-auth-file={tokens}",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
    ]


def without_pods() -> list[str]:
    """What the API server is told where no pod can reach it: a loopback address is no endpoint for them."""
    return ["--authorization-mode=RBAC", "--endpoint-reconciler-type=none"]


def kube_controller_manager(kubeconfig: Path, certificates: Path) -> list[str]:
    """Every controller with its own service account, as in production; it serves nothing itself."""
    return [
        str(require(programs.KUBE_CONTROLLER_MANAGER)),
        *_client_flags(kubeconfig),
        "--use-service-account-credentials=true",
        f"--service-account-private-key-file={certificates / 'apiserver.key'}",
        f"--root-ca-file={certificates / 'apiserver.crt'}",
    ]


def kube_scheduler(kubeconfig: Path) -> list[str]:
    """The default scheduler; it serves nothing itself."""
    return [str(require(programs.KUBE_SCHEDULER)), *_client_flags(kubeconfig)]


def kwok(kubeconfig: Path) -> list[str]:
    """Plays the kubelet of every node."""
    return [
        str(require(programs.KWOK)),
        f"--kubeconfig={kubeconfig}",
        f"--config={_FAKE_NODE_STAGES}",
        "--manage-all-nodes=true",
        "--cidr=10.244.0.0/16",
        f"--node-ip={LOOPBACK}",
        "--node-lease-duration-seconds=40",
    ]


def _client_flags(kubeconfig: Path) -> list[str]:
    return [
        f"--kubeconfig={kubeconfig}",
        "--secure-port=0",
        "--leader-elect=false",
        # The default of 20 requests a second makes the start five times as long.
        "--kube-api-qps=200",
        "--kube-api-burst=400",
    ]
