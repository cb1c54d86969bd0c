"""Claims that are kept up are those that would be judged anew, whoever changes what."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tenantry_core.resources import (
    Artifact,
    LabelSelector,
    Metadata,
    PoolRef,
    PredictorPool,
    PredictorPoolSpec,
    Storage,
    TenantModel,
    TenantModelSpec,
    Trust,
)
from tenantry_core.slices import Users
from tenantry_operator.planning.claim_book import ClaimBook
from tenantry_operator.planning.claims import judge_claims

GOLD = LabelSelector(match_labels={"tier": "gold"})

selectors = st.sampled_from([None, GOLD])
specs = st.builds(
    PredictorPoolSpec,
    replicas=st.integers(0, 2),
    storage=st.sampled_from([Storage(), Storage(prefixes=("s3://own/",))]),
    trust=st.sampled_from([Trust(), Trust(formats=("skops",))]),
    namespace_selector=selectors,
)
pools = st.dictionaries(st.sampled_from(["default", "other"]), specs).map(
    lambda found: {name: PredictorPool(Metadata(name), spec) for name, spec in found.items()}
)
labels = st.dictionaries(
    st.sampled_from(["one", "two"]), st.sampled_from([{"tier": "gold"}, {"tier": "iron"}])
)
models = st.dictionaries(
    st.tuples(st.sampled_from(["one", "two"]), st.sampled_from(["a", "b", "c"])),
    st.builds(
        TenantModelSpec,
        artifact=st.sampled_from([Artifact("s3://models/a.onnx"), Artifact("s3://own/a.skops")]),
        tenant=st.sampled_from(["t", "u"]),
        users=st.sampled_from([Users(), Users(ids=("1", "2")), Users(ids=("2", "3"))]),
        pool_ref=st.builds(PoolRef, st.sampled_from(["default", "other"])),
    ),
).map(lambda found: {f"{ns}.{name}": _model(ns, name, spec) for (ns, name), spec in found.items()})


def _model(namespace: str, name: str, spec: TenantModelSpec) -> TenantModel:
    created = f"2026-01-01T00:00:0{ord(name) % 7}Z"
    return TenantModel(Metadata(name, namespace, f"uid-{namespace}-{name}", 1, created), spec)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(models, pools, labels), min_size=2, max_size=4))
def test_claims_that_are_kept_up_are_those_judged_anew(
    worlds: list[tuple[dict[str, TenantModel], dict[str, PredictorPool], dict[str, dict[str, str]]]],
) -> None:
    book = ClaimBook()
    known: dict[str, TenantModel] = {}
    for present, rules, labelled in worlds:
        before = dict(book.claims)
        changed = {
            key: (known.get(key), present.get(key))
            for key in known.keys() | present.keys()
            if known.get(key) != present.get(key)
        }
        told = book.update(changed, rules, labelled)
        assert book.claims == judge_claims(present, rules, labelled)
        assert {key for key, claim in book.claims.items() if before.get(key) != claim} <= told
        known = present


def test_a_pool_that_is_scaled_concerns_no_claim() -> None:
    book, model = ClaimBook(), _model("one", "a", TenantModelSpec(Artifact("s3://models/a.onnx")))
    pool = PredictorPool(Metadata("default"), PredictorPoolSpec(replicas=2))
    assert book.update({model.key: (None, model)}, {"default": pool}, {}) == {model.key}
    scaled = msgspec.structs.replace(pool, spec=PredictorPoolSpec(replicas=5))
    assert not book.update({}, {"default": scaled}, {"one": {"tier": "gold"}})


def test_a_refused_model_is_looked_at_again_when_the_pool_it_still_serves_on_changes() -> None:
    book = ClaimBook()
    model = _model("one", "a", TenantModelSpec(Artifact("s3://models/a.onnx"), pool_ref=PoolRef("missing")))
    pool = PredictorPool(Metadata("default"), PredictorPoolSpec())
    book.update({model.key: (None, model)}, {"default": pool}, {})
    spec = PredictorPoolSpec(storage=Storage(prefixes=("s3://own/",)))
    assert book.update({}, {"default": msgspec.structs.replace(pool, spec=spec)}, {}) == {model.key}
