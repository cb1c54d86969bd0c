"""What is refused before anything is loaded, and in which words."""

from __future__ import annotations

import time

import pytest

from tenantry_core.resources import (
    Artifact,
    LabelSelector,
    LabelSelectorRequirement,
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
from tenantry_operator.planning.claims import Claim, judge_claims

POOL = PredictorPool(Metadata("default"), PredictorPoolSpec())


def model(
    name: str,
    *,
    namespace: str = "models",
    age: int = 0,
    uri: str = "s3://models/a.onnx",
    form: str = "",
    tenant: str = "",
    users: Users | None = None,
    pool: str = "default",
) -> TenantModel:
    """A model; the higher its age, the older it is."""
    metadata = Metadata(name, namespace, f"uid-{name}", 1, f"2026-01-01T00:00:{59 - age:02}Z")
    spec = TenantModelSpec(Artifact(uri, format=form), tenant, users or Users(), PoolRef(pool))
    return TenantModel(metadata, spec)


def judge(
    *models: TenantModel, pool: PredictorPool = POOL, labels: dict[str, str] | None = None
) -> list[Claim]:
    claims = judge_claims({m.key: m for m in models}, {"default": pool}, {"models": labels or {}})
    assert claims == judge_claims(
        {m.key: m for m in reversed(models)}, {"default": pool}, {"models": labels or {}}
    )
    return [claims[m.key] for m in models]


def reason(claim: Claim) -> str:
    return claim.refusal.reason if claim.refusal else ""


def test_a_plain_model_is_granted_everything() -> None:
    assert judge(model("acme")) == [Claim()]


def test_a_tenant_belongs_to_the_namespace_of_its_oldest_model() -> None:
    old, new, other = (
        model("a", tenant="acme", age=9),
        model("b", tenant="acme", namespace="intruders", age=5),
        model("c", tenant="acme", age=1),
    )
    kept, taken, sibling = judge(old, new, other)
    assert kept.refusal is None
    assert sibling.refusal is None
    assert reason(taken) == "TenantTaken"
    assert not taken.listed
    assert taken.refusal is not None
    assert "'models'" in taken.refusal.message


def test_of_two_models_with_the_same_user_the_older_keeps_it() -> None:
    old = model("a", tenant="t", age=9, users=Users(ids=("1", "2"), prefixes=("x-",)))
    new = model("b", tenant="t", age=1, users=Users(ids=("2", "3"), prefixes=("x-", "y-")))
    kept, cut = judge(old, new)
    assert kept == Claim(users=old.spec.users)
    assert cut.users == Users(ids=("3",), prefixes=("y-",))
    assert cut.listed
    assert cut.conflict is not None
    assert cut.conflict.reason == "UserConflict"
    assert "a" in cut.conflict.message
    assert "'2'" in cut.conflict.message


def test_a_model_that_lost_all_its_users_does_not_answer_for_everybody() -> None:
    old = model("a", tenant="t", age=9, users=Users(ids=("1",)))
    lost = judge(old, model("b", tenant="t", users=Users(ids=("1",))))[1]
    assert not lost.listed
    assert reason(lost) == "UserConflict"


def test_the_same_user_of_two_tenants_is_no_conflict() -> None:
    users = Users(ids=("1",))
    assert all(c.conflict is None for c in judge(model("a", users=users), model("b", users=users)))


def test_two_models_for_everybody_are_no_conflict() -> None:
    assert all(c.conflict is None for c in judge(model("a", tenant="t"), model("b", tenant="t")))


def test_a_pool_must_be_there() -> None:
    (claim,) = judge(model("acme", pool="gpu"))
    assert reason(claim) == "PoolNotFound"
    assert claim.refusal is not None
    assert "'gpu'" in claim.refusal.message


def test_a_pool_of_no_slots_is_told() -> None:
    assert (
        reason(judge(model("acme"), pool=PredictorPool(Metadata("default"), PredictorPoolSpec(0)))[0])
        == "NoSlots"
    )


@pytest.mark.parametrize(
    ("requirement", "labels", "taken"),
    [
        (("team", "In", ("ml", "bi")), {"team": "ml"}, True),
        (("team", "In", ("ml",)), {}, False),
        (("team", "NotIn", ("ml",)), {}, True),
        (("team", "NotIn", ("ml",)), {"team": "ml"}, False),
        (("team", "Exists", ()), {"team": ""}, True),
        (("team", "DoesNotExist", ()), {"team": ""}, False),
    ],
)
def test_a_pool_takes_the_namespaces_that_it_selects(
    requirement: tuple[str, str, tuple[str, ...]], labels: dict[str, str], taken: bool
) -> None:
    selector = LabelSelector(match_expressions=(LabelSelectorRequirement(*requirement),))  # type: ignore[arg-type]
    pool = PredictorPool(Metadata("default"), PredictorPoolSpec(namespace_selector=selector))
    assert reason(judge(model("acme"), pool=pool, labels=labels)[0]) == ("" if taken else "PoolNotAllowed")


def test_match_labels_must_all_be_there() -> None:
    selector = LabelSelector(match_labels={"team": "ml", "stage": "prod"})
    pool = PredictorPool(Metadata("default"), PredictorPoolSpec(namespace_selector=selector))
    assert reason(judge(model("acme"), pool=pool, labels={"team": "ml"})[0]) == "PoolNotAllowed"
    assert judge(model("acme"), pool=pool, labels={"team": "ml", "stage": "prod"})[0].refusal is None


@pytest.mark.parametrize(
    ("uri", "allowed"),
    [
        ("s3://models/models/a.onnx", True),
        ("s3://models/other/a.onnx", False),
        ("s3://models/models/../other/a.onnx", False),
        ("file:///models/acme/a.onnx", True),
        ("file:///models/other/a.onnx", False),
        ("s3://models/models/{user_id}.onnx", True),
    ],
)
def test_storage_prefixes_hold_namespace_and_tenant(uri: str, allowed: bool) -> None:
    storage = Storage(prefixes=("s3://models/{namespace}/", "file:///models/{tenant}/"))
    pool = PredictorPool(Metadata("default"), PredictorPoolSpec(storage=storage))
    assert reason(judge(model("acme", uri=uri), pool=pool)[0]) == ("" if allowed else "OutsideAllowedStorage")


def test_another_scheme_is_read_where_a_prefix_names_it() -> None:
    asked = model("acme", uri="hub://eu-1.example:8080/acme/a.onnx")
    (claim,) = judge(asked)
    assert reason(claim) == "OutsideAllowedStorage"
    assert claim.refusal is not None
    assert "hub:// is only read below one of the pool's storage.prefixes" in claim.refusal.message
    for prefix, word in (("hub://eu-1.example:8080/{tenant}/", ""), ("hub://us-1/", "OutsideAllowedStorage")):
        pool = PredictorPool(Metadata("default"), PredictorPoolSpec(storage=Storage(prefixes=(prefix,))))
        assert reason(judge(asked, pool=pool)[0]) == word


@pytest.mark.parametrize(
    "uri", ["hub:///a.onnx", "hub://user@host/a.onnx", "hub://-/a.onnx", "Hub://x/a.onnx"]
)
def test_a_place_that_is_none_is_refused_whatever_the_prefixes_say(uri: str) -> None:
    prefix = uri.removesuffix("a.onnx")
    pool = PredictorPool(Metadata("default"), PredictorPoolSpec(storage=Storage(prefixes=(prefix,))))
    assert reason(judge(model("acme", uri=uri), pool=pool)[0]) == "OutsideAllowedStorage"


@pytest.mark.parametrize(
    ("uri", "form", "word", "advice"),
    [
        ("s3://models/a.pkl", "", "FormatNotTrusted", "tenantry publish"),
        ("s3://models/a.bin", "joblib", "FormatNotTrusted", "tenantry publish"),
        ("s3://models/a.bin", "", "FormatUnknown", "artifact.format"),
        ("s3://models/a.bin", "mine", "FormatNotTrusted", "onnx"),
    ],
)
def test_untrusted_formats_are_refused_with_advice(uri: str, form: str, word: str, advice: str) -> None:
    (claim,) = judge(model("acme", uri=uri, form=form))
    assert reason(claim) == word
    assert claim.refusal is not None
    assert advice in claim.refusal.message


def test_a_pool_may_trust_more_but_never_a_pickle() -> None:
    trust = Trust(formats=("mine", "pickle"))
    pool = PredictorPool(Metadata("default"), PredictorPoolSpec(trust=trust))
    assert judge(model("acme", form="mine"), pool=pool)[0].refusal is None
    assert reason(judge(model("acme", uri="s3://models/a.pkl"), pool=pool)[0]) == "FormatNotTrusted"


def test_tenant_is_told_before_pool_before_storage_before_format() -> None:
    owner = model("a", tenant="t", age=9)
    bad = model("b", tenant="t", namespace="x", uri="file:///etc/a.pkl", pool="none")
    assert reason(judge(owner, bad)[1]) == "TenantTaken"
    assert reason(judge(model("b", uri="file:///etc/a.pkl", pool="none"))[0]) == "PoolNotFound"
    assert reason(judge(model("b", uri="file:///etc/a.pkl"))[0]) == "OutsideAllowedStorage"


def test_ten_thousand_claims_are_judged_in_a_moment() -> None:
    models = {f"models.m{i}": model(f"m{i}", users=Users(ids=(f"{i}",))) for i in range(10_000)}
    began = time.process_time()
    judge_claims(models, {"default": POOL}, {})
    assert time.process_time() - began < 3, "it takes about 0.1 s"
