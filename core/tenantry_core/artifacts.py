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

_URI = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+-]{1,30})://(?P<place>[A-Za-z0-9._-]{0,253}(:[0-9]{1,5})?)"
    r"/(?P<key>[^\s\x00-\x1f\x7f?#%\\]{1,1024})"
)
# What follows `://`, by scheme: a bucket, nothing, or what another store may call a place.
_PLACES = {"s3": re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"), "file": re.compile("")}
_ODD_SEGMENT = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")
"""One that is empty, `.` or `..`."""
_ANY_PLACE = re.compile(r"[A-Za-z0-9].*")


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
    nothing else. The operator calls this before `{user_id}` is put in, the predictor after.

    Raises ArtifactRefused.
    """
    match = _URI.fullmatch(uri)
    scheme, place, key = match.group("scheme", "place", "key") if match else ("", "", "")
    if not match or not _PLACES.get(scheme, _ANY_PLACE).fullmatch(place):
        raise ArtifactRefused(
            f"{uri} is neither s3://bucket/key nor file:///absolute/path, nor of another store"
        )
    if _ODD_SEGMENT.search(key):
        raise ArtifactRefused(f"{uri} holds an empty, '.' or '..' path segment")
    if scheme != "s3" and not any(prefix.startswith(f"{scheme}://") for prefix in prefixes):
        raise ArtifactRefused(f"{uri}: {scheme}:// is only read below one of the pool's storage.prefixes")
    if not prefixes:
        return
    allowed = [p.replace("{namespace}", namespace).replace("{tenant}", tenant) for p in prefixes]
    if not any(prefix.endswith("/") and uri.startswith(prefix) for prefix in allowed):
        raise ArtifactRefused(f"{uri} is outside the allowed storage: {', '.join(allowed)}")
