"""Which references are admitted: malformed ones, foreign storage and untrusted formats are refused."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.artifacts import check_uri, substitute_user
from tenantry_core.names import USER_PATTERN, is_user_id
from tenantry_core.problems import Problem
from tenantry_core.slices import Reference
from tenantry_core.wire import LoadRequest
from tenantry_predictor.errors import FormatNotTrusted, LoadError, OutsideAllowedStorage
from tenantry_predictor.policy import Policy
from tenantry_predictor.references import References

SHA = "ab" * 32
FIELDS = {
    b"tenantry-model": b"prod.acme",
    b"tenantry-tenant": b"acme",
    b"tenantry-version": SHA.encode(),
    b"tenantry-artifact": b"s3://models/prod/acme/caf%C3%A9%201.onnx".replace(b"%20", b""),
    b"tenantry-format": b"onnx",
}


def fields(**changes: bytes | None) -> dict[bytes, bytes]:
    changed: dict[bytes, Any] = FIELDS | {
        f"tenantry-{name}".encode(): value for name, value in changes.items()
    }
    return {name: value for name, value in changed.items() if value is not None}


def test_fields_become_a_source() -> None:
    source = References(Policy()).from_fields(FIELDS)
    assert (source.model, source.namespace, source.tenant) == ("prod.acme", "prod", "acme")
    assert source.uri == "s3://models/prod/acme/café1.onnx"
    assert source.key == ("acme", SHA, "onnx")


def test_unpinned_and_unnamed_format() -> None:
    source = References(Policy()).from_fields(
        fields(version=b"-", format=None, artifact=b"s3://models/a.skops")
    )
    assert (source.sha256, source.key, source.format) == ("", None, "skops")


def test_the_same_fields_are_read_once() -> None:
    references = References(Policy())
    assert references.from_fields(dict(FIELDS)) is references.from_fields(dict(FIELDS))
    assert references.from_fields(fields(tenant=b"globex")).tenant == "globex"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"model": None}, "is missing"),
        ({"tenant": None}, "is missing"),
        ({"artifact": None}, "is missing"),
        ({"model": b"acme"}, "namespace.name"),
        ({"model": b"../x.y"}, "namespace.name"),
        ({"tenant": b".."}, "no tenant"),
        ({"tenant": b"a/b"}, "no tenant"),
        ({"version": b"abcdef"}, "64 hex digits"),
        ({"version": SHA.upper().encode()}, "64 hex digits"),
        ({"artifact": b"s3://models/%ff.onnx"}, "UTF-8"),
    ],
)
def test_malformed_fields_are_400(change: dict[str, bytes | None], sentence: str) -> None:
    with pytest.raises(Problem, match=sentence) as caught:
        References(Policy()).from_fields(fields(**change))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "uri",
    [
        b"s3://models/prod/globex/a.onnx",
        b"s3://models/prod/acme/../globex/a.onnx",
        b"s3://models/prod/acme/%2e%2e/globex/a.onnx",
        b"s3://models/prod/acme/%252e%252e/globex/a.onnx",
        b"s3://models-of-others/prod/acme/a.onnx",
        b"s3://models/prod/acmeinc/a.onnx",
        b"s3://models/prod/acme/%00.onnx",
        b"s3://models/prod/acme/%1b[2J.onnx",
        b"file:///etc/passwd",
        b"http://169.254.169.254/latest/meta-data",
        b"/etc/passwd",
        b"",
    ],
)
def test_storage_outside_the_prefixes_is_refused(uri: bytes) -> None:
    references = References(Policy(["s3://models/{namespace}/{tenant}/"]))
    for _ in range(2):
        with pytest.raises(OutsideAllowedStorage):
            references.from_fields(fields(artifact=uri))


@pytest.mark.parametrize(
    ("model_format", "trusted"), [("pickle", ()), ("joblib", ("joblib",)), ("skops", ("onnx",))]
)
def test_untrusted_formats_are_refused(model_format: str, trusted: tuple[str, ...]) -> None:
    with pytest.raises(FormatNotTrusted):
        References(Policy(formats=trusted)).from_fields(fields(format=model_format.encode()))


def test_format_that_nothing_tells_is_refused() -> None:
    with pytest.raises(FormatNotTrusted):
        References(Policy()).from_fields(fields(artifact=b"s3://models/a.bin", format=None))


def test_the_probe_user_is_put_in_and_checked_again() -> None:
    references = References(Policy(["s3://models/{tenant}/"]))
    request = LoadRequest(Reference("s3://models/acme/{user_id}.onnx", "onnx"), "acme", probe_user="42")
    assert references.from_load("prod.acme", request).uri == "s3://models/acme/42.onnx"
    for user in ("", "..", "../globex/1"):
        bad = LoadRequest(Reference("s3://models/acme/{user_id}.onnx", "onnx"), "acme", probe_user=user)
        with pytest.raises((Problem, LoadError)):
            references.from_load("prod.acme", bad)


@given(
    st.from_regex(USER_PATTERN, fullmatch=True).filter(is_user_id),
    st.sampled_from(
        ["{user_id}.onnx", "{user_id}", "{user_id}/m.onnx", "a-{user_id}-b.onnx", "{user_id}/{user_id}.onnx"]
    ),
    st.sampled_from(["s3://models/acme/", "file:///models/acme/"]),
)
def test_whoever_the_user_is_their_artifact_is_below_the_allowed_prefix(
    user: str, key: str, prefix: str
) -> None:
    template = prefix + key
    check_uri(template, [prefix], namespace="models", tenant="acme")  # as the operator has
    uri = substitute_user(template, user)
    check_uri(uri, [prefix], namespace="models", tenant="acme")  # as the predictor does
    assert os.path.normpath(uri.partition("://")[2]).startswith(prefix.partition("://")[2])
