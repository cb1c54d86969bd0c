"""The table, changed slice by slice, always equals one that is built anew from all slices."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenantry_core.problems import Problem
from tenantry_core.slices import Entry, Reference, SliceContent, Target, Users, winners
from tenantry_router.destination import Destinations
from tenantry_router.load_times import LoadTimes
from tenantry_router.model_info import TableModelInfoRepository
from tenantry_router.table import Table
from unit.router.worlds import TENANTS, TEXTS, entries, entry

SLICES = ("placement-0-0", "placement-1-0", "placement-1-1")
changes = st.lists(
    st.tuples(st.sampled_from(SLICES), st.none() | st.lists(entries, max_size=4).map(tuple)), max_size=12
)


def naive_model(present: dict[str, Entry], tenant: str, user: str) -> str | None:
    """By the rules as they are written: exact id, then longest prefix; the older model keeps a key."""
    models = sorted((e for e in present.values() if e.tenant == tenant), key=lambda e: (e.created, e.uid))
    for model in models:
        if user in model.users.ids:
            return model.model
    fitting = [(-len(p), i) for i, m in enumerate(models) for p in m.users.prefixes if user.startswith(p)]
    return models[min(fitting)[1]].model if fitting else None


@given(changes, TEXTS)
def test_whatever_changes_it_equals_a_table_built_anew(
    steps: list[tuple[str, tuple[Entry, ...] | None]], user: str
) -> None:
    table = Table()
    slices: dict[str, tuple[Entry, ...]] = {}
    for name, content in steps:
        if content is None:
            slices.pop(name, None)
            table.remove_slice(name)
        else:
            slices[name] = content
            table.set_slice(name, SliceContent(content))
        expected = winners(e for content in slices.values() for e in content)
        routed = {key: model.entry for key, model in table.models.items()}
        assert {key: _rank(e) for key, e in routed.items()} == {key: _rank(e) for key, e in expected.items()}
        _check_indexes(table, routed, user)


def _rank(entry: Entry) -> tuple[object, ...]:
    """Of entries that are equal in all of this none supersedes the other: any may be routed."""
    newest = (entry.created, entry.uid)
    return (*newest, entry.revision)


def _check_indexes(table: Table, routed: dict[str, Entry], user: str) -> None:
    assert set(table.tenants) == {e.tenant for e in routed.values()}
    assert {key for named in table.names.values() for key in named} == set(routed)
    for tenant in TENANTS:
        known = table.tenants.get(tenant)
        mine = {key for key, e in routed.items() if e.tenant == tenant}
        assert (set(known.models) if known else set()) == mine
        if known is not None:
            assert set(known.unfiltered) == {key for key in mine if routed[key].users.unfiltered}
            model = known.model_for(user)
            expected = naive_model(routed, tenant, user)
            # Two models of the same age may both claim a user: either is right.
            assert (model is None) == (expected is None)
            if model is not None and expected is not None:
                assert _claim(model.entry, user) == _claim(routed[expected], user)


def _claim(entry: Entry, user: str) -> tuple[object, ...]:
    exact = user in entry.users.ids
    longest = max((len(p) for p in entry.users.prefixes if user.startswith(p)), default=0)
    return exact, 0 if exact else longest, entry.created, entry.uid


def test_an_entry_that_did_not_change_keeps_what_was_computed_for_it() -> None:
    table = Table()
    table.set_slice("placement-0-0", SliceContent((entry("n.a"), entry("n.b"))))
    kept = table.models["n.a"]
    table.set_slice("placement-0-0", SliceContent((entry("n.a"), entry("n.b", revision=2))))
    assert table.models["n.a"] is kept
    assert table.models["n.b"].entry.revision == 2


def test_while_slices_are_split_a_model_is_never_absent() -> None:
    table = Table()
    table.set_slice("placement-0-0", SliceContent((entry("n.a"), entry("n.b"))))
    table.set_slice("placement-1-0", SliceContent((entry("n.a", revision=2),)))
    assert table.models["n.a"].entry.revision == 2
    table.set_slice("placement-1-1", SliceContent((entry("n.b"),)))
    table.remove_slice("placement-0-0")
    assert set(table.models) == {"n.a", "n.b"}


def test_a_recreated_model_replaces_the_deleted_one_however_high_its_revision_was() -> None:
    table = Table()
    table.set_slice("placement-0-0", SliceContent((entry("n.a", uid="old", revision=900),)))
    newer = entry("n.a", uid="new", created="2026-02-01T00:00:00Z", revision=1)
    table.set_slice("placement-1-0", SliceContent((newer,)))
    assert table.models["n.a"].entry == newer


def test_the_longest_prefix_wins_and_an_exact_id_before_it() -> None:
    table = Table()
    contents = (
        entry("n.a", users=Users(prefixes=("v",))),
        entry("n.b", users=Users(prefixes=("vip-",))),
        entry("n.c", users=Users(ids=("vip-1",))),
    )
    table.set_slice("placement-0-0", SliceContent(contents))
    chosen = {user: table.tenants["a"].model_for(user) for user in ("v", "vip-2", "vip-1", "x")}
    assert {user: model.key if model else None for user, model in chosen.items()} == {
        "v": "n.a",
        "vip-2": "n.b",
        "vip-1": "n.c",
        "x": None,
    }


@pytest.mark.parametrize(
    ("malformed", "sentence"),
    [
        (entry("nodot"), r"namespace\.name"),
        (entry("n.b\r\nX: y"), r"namespace\.name"),
        (entry("n.c", tenant="a\r\nTenantry-Token: x"), "tenant"),
        (entry("n.c", targets=(Target(Reference("s3://m/c.onnx", "onnx", "1\r\n2"), ("p-0",)),)), "digest"),
    ],
)
def test_a_malformed_entry_changes_nothing(malformed: Entry, sentence: str) -> None:
    table = Table()
    table.set_slice("placement-0-0", SliceContent((entry("n.a"),)))
    with pytest.raises(ValueError, match=sentence):
        table.set_slice("placement-0-0", SliceContent((entry("n.b"), malformed)))
    assert set(table.models) == {"n.a"}


def model_of(destinations: Destinations, tenant: bytes | None, segment: bytes) -> str | None:
    found = destinations.of_user(tenant, segment, now=0.0)
    return found.model.key if found else None


def test_what_is_remembered_of_users_is_forgotten_when_a_slice_changes() -> None:
    table = Table()
    destinations = Destinations(table, TableModelInfoRepository(table), LoadTimes())
    table.set_slice("placement-0-0", SliceContent((entry("n.a"),)))
    assert destinations.of_user(None, b"a:1", 0.0) is destinations.of_user(None, b"a:1", 0.0)
    assert model_of(destinations, None, b"a:1") == "n.a"
    table.set_slice("placement-0-0", SliceContent((entry("n.b"),)))
    assert model_of(destinations, None, b"a:1") == "n.b"
    table.remove_slice("placement-0-0")
    with pytest.raises(Problem):
        model_of(destinations, None, b"a:1")


def test_a_tenant_header_and_a_prefix_of_the_id_are_not_taken_for_each_other() -> None:
    table = Table()
    destinations = Destinations(table, TableModelInfoRepository(table), LoadTimes())
    table.set_slice("placement-0-0", SliceContent((entry("n.a"), entry("n.b", tenant="b"))))
    assert model_of(destinations, None, b"a:b") == "n.a"
    assert model_of(destinations, b"b", b"a:b") == "n.b"
    assert model_of(destinations, None, b"b") == "n.b"
