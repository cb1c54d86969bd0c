"""Sizes of caches, as pools state them."""

from __future__ import annotations

import pytest

from tenantry_core.quantities import parse_quantity


@pytest.mark.parametrize(
    ("text", "size"),
    [("512Mi", 512 << 20), ("2G", 2 * 10**9), ("1.5Gi", 3 << 29), ("7", 7), ("0.5k", 500), ("1Ti", 1 << 40)],
)
def test_quantities_are_bytes(text: str, size: int) -> None:
    assert parse_quantity(text) == size


@pytest.mark.parametrize("text", ["", "Mi", "1 Gi", "-1", "1e3", "1GiB", "٣Mi", "1Gi\n"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write it like 512Mi or 2G"):
        parse_quantity(text)
