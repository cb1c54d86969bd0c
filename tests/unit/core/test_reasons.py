"""Every word that an answer or a status may have as its reason is explained in docs/troubleshooting.md."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs/troubleshooting.md"
SOURCES = (
    "core/tenantry_core",
    "router/tenantry_router",
    "predictor/tenantry_predictor",
    "operator/tenantry_operator",
)
GIVEN = re.compile(
    r"""\b(?:reason(?:_word)?|FIRST_LOAD|VERIFYING|PROBED|NOT_PROBED)\s*=\s*"(\w+)"
      | \b(?:LoadError|Failed|Refusal|Unavailable)\(\s*"(\w+)" """,
    re.VERBOSE,
)


def reasons() -> Iterator[str]:
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            for match in GIVEN.finditer(path.read_text()):
                yield match[1] or match[2]


def test_each_reason_is_in_the_guide() -> None:
    given = set(reasons())
    assert {"InputMismatch", "LoadFailed", "FirstLoad", "TenantTaken", "NotPlaced"} <= given
    explained = set(re.findall(r"`(\w+)`", GUIDE.read_text()))
    assert not given - explained


def test_no_alert_counts_what_a_models_owner_broke() -> None:
    chart = ROOT / "deploy/helm/tenantry"
    files = (chart / "rules/router.yaml", chart / "dashboards/tenantry.json")
    [pattern] = {match for file in files for match in re.findall(r'reason!~\\?"([^"\\]+)', file.read_text())}
    left_out = {reason for reason in reasons() if re.fullmatch(pattern, reason)}
    assert len(left_out) == len(alternatives(pattern)), "each word in it is one that is given"
    assert {reason for reason in reasons() if reason.startswith("Model")} <= left_out


def alternatives(pattern: str) -> list[str]:
    """A|B(C|D) are three."""
    found = []
    for word, inner in re.findall(r"(\w+)(?:\(([^)]*)\))?", pattern):
        found += [word + end for end in inner.split("|")] if inner else [word]
    return found
