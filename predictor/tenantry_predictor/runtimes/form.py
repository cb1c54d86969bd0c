"""The name of what is made here of artifacts: another version or machine makes, and reads, its own."""

from __future__ import annotations

import hashlib
import platform
import re
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("tenantry", "onnx", "scikit-learn", "skops", "skl2onnx", "onnxmltools", "xgboost", "lightgbm")
"""That decide what becomes of a file, beside ONNX Runtime."""
_CPU = re.compile(r"^(?:model name|flags|Features)\s*:.*$", re.MULTILINE)


def form_name() -> str:
    """As `onnxruntime-1.31.1-x86_64-0a1b2c3d`: ONNX Runtime writes graphs for its version and a processor."""
    versions = [_version(package) for package in _PACKAGES]
    digest = hashlib.sha256("\n".join([*versions, _processor()]).encode()).hexdigest()[:8]
    return f"onnxruntime-{_version('onnxruntime')}-{platform.machine()}-{digest}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    """Its model and what it can do, of the first core; the flags decide how weights are laid out."""
    try:
        cores = Path("/proc/cpuinfo").read_text().split("\n\n")
    except OSError:
        return platform.processor()
    return "\n".join(_CPU.findall(cores[0]))
