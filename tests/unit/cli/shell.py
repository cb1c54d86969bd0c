"""What a command answered, and manifests to give it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

ACME = """\
apiVersion: tenantry.dev/v1alpha1
kind: TenantModel
metadata: {name: acme}
spec:
  artifact: {uri: s3://models/acme.onnx}
"""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Shell = Callable[..., Outcome]
