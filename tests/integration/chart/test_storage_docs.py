"""What docs/storage.md tells to write is accepted: manifests by the API server, values by the chart."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from cluster.controlplane import ControlPlane
from integration.chart.release import CHART, Release

TEXT = (CHART.parents[2] / "docs/storage.md").read_text()
BLOCKS = [
    yaml.safe_load(block) for block in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize("values", [block for block in BLOCKS if "kind" not in block])
def test_values_are_accepted(release: Release, values: dict[str, Any]) -> None:
    release.template(values)


@pytest.mark.parametrize("manifest", [block for block in BLOCKS if "kind" in block])
def test_manifests_are_accepted(plane: ControlPlane, release: Release, manifest: dict[str, Any]) -> None:
    plane.kubectl("create", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(manifest))
