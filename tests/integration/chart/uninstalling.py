"""`helm uninstall` where no controller runs Jobs: the clean-up runs here, with the rights of the Job."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from cluster.controlplane import ControlPlane
from integration.chart.release import NAMESPACE, Release
from integration.waiting import wait_for

_JOB = "tenantry-cleanup"
_SECONDS = 120.0


def uninstall(plane: ControlPlane, release: Release) -> str:
    """What helm says. Raises what the clean-up raised."""
    with ThreadPoolExecutor(1) as pool:
        said = pool.submit(release.uninstall)
        wait_for(lambda: f"job.batch/{_JOB}" in release.names("jobs"), _SECONDS, "the hook's Job is there")
        _run(plane, release.get("job", _JOB)["spec"])
        _complete(plane)
        return said.result()


def _run(plane: ControlPlane, job: dict[str, Any]) -> None:
    """As often as the Job would be tried: kinds that have just been defined are not served at once."""
    pod = job["template"]["spec"]
    kubeconfig = plane.kubeconfig_for(pod["serviceAccountName"], NAMESPACE)
    command = [sys.executable, "-m", "tenantry_operator", *pod["containers"][0]["args"]]
    for left in range(job["backoffLimit"], -1, -1):
        code = subprocess.run(
            command, env={"KUBECONFIG": str(kubeconfig)}, timeout=_SECONDS, check=left == 0
        ).returncode
        if code == 0:
            return


def _complete(plane: ControlPlane) -> None:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    reached = {"status": "True", "lastTransitionTime": now}
    conditions = [{"type": kind} | reached for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"startTime": now, "completionTime": now, "succeeded": 1, "conditions": conditions}
    where = [f"--namespace={NAMESPACE}", "--subresource=status", "--type=merge"]
    plane.kubectl("patch", "job", _JOB, *where, f"--patch={json.dumps({'status': status})}")
