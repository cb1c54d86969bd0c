"""A release of the chart, by helm, on an API server that no node stands behind."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from cluster import programs
from cluster.binaries import require
from cluster.controlplane import ControlPlane

CHART = Path(__file__).resolve().parents[3] / "deploy/helm/tenantry"
NAME = NAMESPACE = "tenantry"
_SECONDS = 270.0

Manifest = dict[str, Any]


class HelmError(Exception):
    """What helm said when it refused."""


class Release:
    """`tenantry` in the namespace `tenantry`."""

    def __init__(self, plane: ControlPlane) -> None:
        self._plane = plane

    def install(self, values: Manifest | None = None) -> str:
        """What NOTES say."""
        return self._helm("install", NAME, str(CHART), "--values=-", values=values)

    def upgrade(self, values: Manifest | None = None) -> str:
        return self._helm("upgrade", NAME, str(CHART), "--values=-", values=values)

    def template(self, values: Manifest | None = None, name: str = NAME) -> str:
        """As rendered without the cluster."""
        return self._helm("template", name, str(CHART), "--values=-", values=values)

    def uninstall(self) -> str:
        return self._helm("uninstall", NAME, "--timeout=240s")

    def tokens(self) -> list[str]:
        """Lines of the Secret."""
        secret = self.get("secret", "tenantry-token")
        return base64.b64decode(secret["data"]["token"]).decode().splitlines()

    def get(self, kind: str, name: str) -> Manifest:
        text = self._plane.kubectl("get", kind, name, f"--namespace={NAMESPACE}", "--output=json")
        manifest: Manifest = json.loads(text)
        return manifest

    def names(self, kinds: str, selector: str = "") -> set[str]:
        """`kind/name` of everything of these kinds, in the namespace or in none."""
        where = [f"--namespace={NAMESPACE}", f"--selector={selector}"]
        return set(self._plane.kubectl("get", kinds, *where, "--output=name").split())

    def left(self) -> set[str]:
        """`kind/name` of what is there of the release but for definitions; what has no labels is all ours."""
        kinds = "deployment,service,serviceaccount,role,rolebinding,clusterrole,clusterrolebinding,"
        kinds += "poddisruptionbudget,networkpolicy,job"
        unlabelled = self.names("secret,configmap,lease,placementslice")
        return unlabelled | self.names(kinds, "app.kubernetes.io/name=tenantry")

    def admit(self, template: Manifest) -> None:
        """Has the API server judge a pod of this template. Raises KubectlError where it is refused."""
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "judged-", "labels": template["metadata"]["labels"]},
            "spec": template["spec"] | {"serviceAccountName": "tenantry-predictor"},
        }
        namespace = f"--namespace={NAMESPACE}"
        self._plane.kubectl("create", "--dry-run=server", namespace, "-f", "-", stdin=json.dumps(pod))

    def _helm(self, *arguments: str, values: Manifest | None = None) -> str:
        answer = subprocess.run(
            [str(require(programs.HELM)), *arguments, f"--namespace={NAMESPACE}"],
            input=json.dumps(values or {}),
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            env=os.environ | {"KUBECONFIG": str(self._plane.kubeconfig)},
        )
        if answer.returncode != 0:
            raise HelmError(answer.stderr.strip())
        return answer.stdout
