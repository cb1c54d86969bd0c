"""Who is asking, as far as the request tells."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.names import TENANT_PATTERN, USER_PATTERN, is_tenant, is_user_id
from tenantry_core.problems import Problem
from tenantry_router.identity import Caller, caller, decode_segment, user_in_body

tenants = st.from_regex(TENANT_PATTERN, fullmatch=True).filter(is_tenant)
users = st.from_regex(USER_PATTERN, fullmatch=True).filter(is_user_id)


@given(tenants, users)
def test_a_tenant_and_a_user_are_told_apart_at_the_first_colon(tenant: str, user: str) -> None:
    assert caller(None, f"{tenant}:{user}") == Caller(tenant, user)


@given(tenants, users)
def test_with_a_tenant_the_whole_id_is_the_user(tenant: str, user: str) -> None:
    assert caller(tenant.encode(), user) == Caller(tenant, user)
    assert caller(tenant.encode(), None) == Caller(tenant, None)


@given(tenants)
def test_an_id_without_a_colon_is_the_tenant(tenant: str) -> None:
    assert caller(None, tenant) == Caller(tenant, None)


def test_nobody_said_anything() -> None:
    assert caller(None, None) == Caller(None, None)


@given(st.text(max_size=140), st.none() | st.binary(max_size=70))
def test_whatever_is_sent_names_somebody_or_is_refused(text: str, tenant: bytes | None) -> None:
    with suppress(Problem):
        who = caller(tenant, text)
        assert who.tenant is not None
        assert is_tenant(who.tenant)
        assert who.user is None or is_user_id(who.user)


@given(users)
def test_a_segment_means_the_same_however_much_of_it_is_percent_encoded(user: str) -> None:
    everything = "".join(f"%{byte:02X}" for byte in user.encode())
    assert decode_segment(user.encode()) == user
    assert decode_segment(quote(user, safe="").encode()) == user
    assert decode_segment(everything.encode()) == user


def test_a_segment_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(Problem) as refusal:
        decode_segment(b"%ff")
    assert refusal.value.status == 400


@given(tenants, users.filter(lambda user: ":" not in user))
def test_the_user_in_a_body_may_be_written_with_or_without_the_models_tenant(tenant: str, user: str) -> None:
    assert user_in_body(user, tenant) == user_in_body(f"{tenant}:{user}", tenant) == user


@pytest.mark.parametrize("text", ["..", "a/b", "", "a b", "a\r\nb", "x" * 129])
def test_the_user_in_a_body_cannot_lead_elsewhere(text: str) -> None:
    with pytest.raises(Problem):
        user_in_body(text, "acme")
