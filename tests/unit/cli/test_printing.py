"""Ages, paths of columns and tables, as kubectl prints them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tenantry import ages, jsonpath, tables
from tenantry_operator.definitions import definitions


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (200, "3m20s"),
        (600, "10m"),
        (10_799, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 60, "3h1m"),
        (8 * 3600 + 60, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86_400, "8d"),
        (729 * 86_400, "729d"),
        (731 * 86_400, "2y1d"),
        (9 * 365 * 86_400, "9y"),
    ],
)
def test_durations_are_kubectls(seconds: int, shown: str) -> None:
    assert ages.duration(seconds) == shown


def test_an_age_is_counted_from_now() -> None:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert ages.age("2026-01-02T03:04:00Z", now) == "5s"
    assert ages.age((now - timedelta(days=3)).isoformat(), now) == "3d"
    assert ages.age("") == "<unknown>"


CONTENT: dict[str, Any] = {
    "spec": {"tenant": "acme", "users": {"ids": ["a", "b"]}},
    "status": {"conditions": [{"type": "Serving", "status": "True"}, {"type": "Ready", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".spec.tenant", ["acme"]),
        (".spec.users.ids[*]", ["a", "b"]),
        (".spec.users.ids[1]", ["b"]),
        (".spec.users.ids[7]", []),
        ('.status.conditions[?(@.type=="Ready")].status', ["False"]),
        ('.status.conditions[?(@.type=="Absent")].status', []),
        (".spec.artifact.uri", []),
        (".spec.tenant.deeper", []),
        (".spec['tenant']", ["acme"]),
    ],
)
def test_paths_lead_to_values(path: str, found: list[Any]) -> None:
    assert jsonpath.find(path, CONTENT) == found


@pytest.mark.parametrize("path", ["spec", "..spec", ".spec[1:2]", ".spec[?(@.a>1)]"])
def test_a_path_that_uses_more_is_an_error_and_never_a_wrong_value(path: str) -> None:
    with pytest.raises(ValueError, match="is not understood"):
        jsonpath.find(path, CONTENT)


def test_every_column_of_every_definition_is_understood() -> None:
    paths = [column["jsonPath"] for kind in definitions().values() for column in kind.columns]
    assert paths
    assert all(jsonpath.find(path, {}) == [] for path in paths)


CELLS = st.lists(st.text("abc[]{}:/.é", min_size=1, max_size=8), min_size=1, max_size=3).map(" ".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_a_table_keeps_every_cell_and_lines_up(rows: list[tuple[str, str]]) -> None:
    lines = tables.render(("NAME", "MESSAGE"), rows).splitlines()
    column = lines[0].index("MESSAGE")
    assert [(line[:column].rstrip(), line[column:]) for line in lines[1:]] == rows
    assert all(line[column - 3 : column] == "   " for line in lines)
