"""Kubernetes quantities of bytes: `512Mi`, `2G`, `1.5Gi`."""

from __future__ import annotations

import re
from decimal import Decimal

_QUANTITY = re.compile(r"([0-9]+(?:[.][0-9]+)?)(Ki|Mi|Gi|Ti|k|M|G|T)?")
"""What the CustomResourceDefinitions let pass."""
_FACTORS = {"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_FACTORS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_quantity(text: str) -> int:
    """Bytes, rounded down. Raises ValueError for anything else than a number with one of the suffixes."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no size: write it like 512Mi or 2G")
    return int(Decimal(match[1]) * _FACTORS.get(match[2], 1))
