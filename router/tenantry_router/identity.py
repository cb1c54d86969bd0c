"""Who is asking: a tenant, and a user within it.

Access is open so far: callers say who they are. Verified credentials will come in here, in `caller` and
nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from tenantry_core import wire
from tenantry_core.names import TENANT_PATTERN, USER_PATTERN, is_tenant, is_user_id
from tenantry_core.problems import Problem


class Caller(NamedTuple):
    tenant: str | None
    """None: nothing tells the tenant; such a caller sees every model."""
    user: str | None
    """None: a tenant as a whole is asking."""


def caller(tenant: bytes | None, user: str | None) -> Caller:
    """The caller, from the value of the header `Tenantry-Tenant` and the user id of the path or header.

    With a tenant, the whole id is the user. Without, the id is split at its first colon, `tenant:user`; an id
    without a colon is the tenant. Raises Problem 400 for what can name nobody.
    """
    if tenant is not None:
        return Caller(_tenant(tenant.decode("latin-1")), None if user is None else _user(user))
    if user is None:
        return Caller(None, None)
    name, colon, rest = user.partition(":")
    return Caller(_tenant(name), _user(rest) if colon else None)


def named_caller(fields: Mapping[bytes, bytes]) -> Caller:
    """Who asks for a model by its name: the header fields tell, if anything does. Raises Problem 400."""
    user = fields.get(wire.USER)
    return caller(fields.get(wire.TENANT), None if user is None else user.decode("latin-1"))


def user_in_body(user: str, tenant: str) -> str:
    """The user that a request names in its body, for a model of `tenant`; `tenant:user` is understood too.

    Raises Problem 400.
    """
    return _user(user.removeprefix(f"{tenant}:"))


def decode_segment(segment: bytes) -> str:
    """A path segment without its percent-encoding. Raises Problem 400 when it is no UTF-8."""
    try:
        return (unquote_to_bytes(segment) if b"%" in segment else segment).decode()
    except UnicodeDecodeError as error:
        raise Problem(400, "The path is not UTF-8 once it is percent-decoded.", reason="Malformed") from error


def _tenant(text: str) -> str:
    if not is_tenant(text):
        raise Problem(
            400,
            f"{text!r} is no tenant: it must match {TENANT_PATTERN} and not be '.' or '..'.",
            reason="Malformed",
        )
    return text


def _user(text: str) -> str:
    if not is_user_id(text):
        raise Problem(
            400,
            f"{text!r} is no user id: it must match {USER_PATTERN} and not be '.' or '..'.",
            reason="Malformed",
        )
    return text
