"""Which target a command acts on."""

from __future__ import annotations

import os
from pathlib import Path

from tenantry.errors import CommandError
from tenantry.running import running_directories
from tenantry.target import Target
from tenantry_operator.local.directory import StateDirectory


def choose(state: Path | None, context: str | None, url: str | None) -> Target:
    """`--state`, else `--context`, else a `tenantry up` that runs, else the kubeconfig.

    Raises CommandError when there is nothing to talk to, or more than one `up` runs.
    """
    # Each side's libraries take a while to import; only one is needed.
    if state is None and context is None:
        state = _running_state()
    if state is not None:
        from tenantry.local_target import LocalTarget

        return LocalTarget(StateDirectory(state), url)
    if context is None and not _has_kubeconfig():
        raise CommandError(
            "there is nothing to talk to: start `tenantry up`, or name a state directory with --state, "
            "or set KUBECONFIG"
        )
    from tenantry.cluster_target import ClusterTarget

    return ClusterTarget(context, url)


def _running_state() -> Path | None:
    running = running_directories()
    if len(running) > 1:
        paths = ", ".join(str(directory.path) for directory in running)
        raise CommandError(f"more than one `tenantry up` runs ({paths}): choose with --state")
    return running[0].path if running else None


def _has_kubeconfig() -> bool:
    paths = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
    return any(Path(path).is_file() for path in paths.split(os.pathsep) if path)
