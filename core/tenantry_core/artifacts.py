"""Artifact URIs and formats: what may be read for whom. Operator and predictor apply the same rule."""

from __future__ import annotations

import re
from collections.abc import Sequence

USER_PLACEHOLDER = "{user_id}"

FORMATS_BY_SUFFIX = {
    ".onnx": "onnx",
    ".skops": "skops",
    ".ubj": "xgboost",
    ".xgb.json": "xgboost",
    ".lgb.txt": "lightgbm",
    ".pkl": "pickle",
    ".pickle": "pickle",
    ".joblib": "joblib",
}
SAFE_FORMATS = ("onnx", "skops", "xgboost", "lightgbm")
"""Formats that carry no code: what a pool trusts unless its owner says otherwise."""
CODE_FORMATS = ("pickle", "joblib")
"""Opening one runs code of the author's choice. Predictors never do."""

_S3 = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/(?P<key>[^\s\x00-\x1f\x7f?#%\\]{1,1024})")
_FILE = re.compile(r"file://(?P<key>/[^\s\x00-\x1f\x7f?#%\\]{1,1024})")


class ArtifactRefused(ValueError):
    """The URI is malformed or outside the allowed storage; the message says which and what to do."""


def default_format(uri: str) -> str | None:
    """The format that the URI's suffix tells, or None when it tells none."""
    for suffix, name in FORMATS_BY_SUFFIX.items():
        if uri.endswith(suffix):
            return name
    return None


def substitute_user(uri: str, user: str) -> str:
    """The URI with `{user_id}` put in. User ids hold no slash, so the result stays in the same folder."""
    return uri.replace(USER_PLACEHOLDER, user)


def check_uri(uri: str, prefixes: Sequence[str], *, namespace: str, tenant: str) -> None:
    """Let a URI pass that is well formed and below one of the allowed prefixes.

    `prefixes` end in `/` and may hold `{namespace}` and `{tenant}`; none at all allow every `s3://` URI and
    no `file://`. The operator calls this before `{user_id}` is put in, the predictor after.

    Raises ArtifactRefused.
    """
    match = _S3.fullmatch(uri) or _FILE.fullmatch(uri)
    if match is None:
        raise ArtifactRefused(f"{uri} is neither s3://bucket/key nor file:///absolute/path")
    if any(part in ("", ".", "..") for part in match["key"].removeprefix("/").split("/")):
        raise ArtifactRefused(f"{uri} holds an empty, '.' or '..' path segment")
    if not prefixes:
        if uri.startswith("s3://"):
            return
        raise ArtifactRefused(f"{uri}: file:// is only read below one of the pool's storage.prefixes")
    allowed = [p.replace("{namespace}", namespace).replace("{tenant}", tenant) for p in prefixes]
    if not any(prefix.endswith("/") and uri.startswith(prefix) for prefix in allowed):
        raise ArtifactRefused(f"{uri} is outside the allowed storage: {', '.join(allowed)}")
