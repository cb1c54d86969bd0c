"""Identifiers: which tenants, users and models may be named, and how a model's key is spelt."""

from __future__ import annotations

import re

TENANT_PATTERN = r"[A-Za-z0-9._~@-]{1,63}"
USER_PATTERN = r"[A-Za-z0-9._~:@-]{1,128}"
LABEL_PATTERN = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"

_TENANT = re.compile(TENANT_PATTERN)
_USER = re.compile(USER_PATTERN)
_MODEL_KEY = re.compile(rf"{LABEL_PATTERN}\.{LABEL_PATTERN}")
_DOTS = frozenset({".", ".."})
"""Path segments that clients and proxies resolve away, so they can never name anybody."""


def is_tenant(text: str) -> bool:
    return _TENANT.fullmatch(text) is not None and text not in _DOTS


def is_user_id(text: str) -> bool:
    return _USER.fullmatch(text) is not None and text not in _DOTS


def is_model_key(text: str) -> bool:
    return _MODEL_KEY.fullmatch(text) is not None


def model_key(namespace: str, name: str) -> str:
    """`namespace.name`; unambiguous, as both are DNS labels and hold no dot."""
    return f"{namespace}.{name}"


def split_model_key(key: str) -> tuple[str, str]:
    """Namespace and name of a model key. Raises ValueError when `key` holds no dot."""
    namespace, dot, name = key.partition(".")
    if not dot:
        raise ValueError(f"{key!r} is no model key: expected namespace.name")
    return namespace, name
