"""Checks alerts and dashboard: they parse, alerts are tested and have a runbook, their metrics exist.

What exists is what docs/operations.md lists; tests/integration/operator/test_metrics.py holds that against
running programs. Needs the programs of `python tests/cluster/build.py --chart`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from cluster.binaries import require
from cluster.errors import ClusterError
from cluster.programs import HELM, PROMTOOL, Program
from metrics_guide import GUIDE, PARTS, documented

ROOT = Path(__file__).resolve().parents[1]
CHART = ROOT / "deploy/helm/tenantry"
RULES = sorted((CHART / "rules").glob("*.yaml"))
RULE_TESTS = sorted((ROOT / "tests/rules").glob("*.yaml"))
DASHBOARD = CHART / "dashboards/tenantry.json"

TARGET_LABELS = frozenset({"namespace", "pod", "instance", "pool", "slot"})
"""What scraping adds."""
_PROCESS = re.compile(r"process_[a-z_]+")
_METRIC = re.compile(r"\b(tenantry_[a-z_]+|process_[a-z_]+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right) *\(([^)]*)\)")
_MATCHER = re.compile(r"([a-z_]+) *(?:=~|!~|!=|=)")
_SUFFIXES = {"histogram": ("_bucket", "_count", "_sum")}


class Wrong(Exception):
    """What is wrong, as a sentence."""


def check_rules() -> str:
    _run(PROMTOOL, "check", "rules", *map(str, RULES))
    _run(PROMTOOL, "test", "rules", *map(str, RULE_TESTS))
    tested = {
        case["alertname"]
        for path in RULE_TESTS
        for test in yaml.safe_load(path.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["exp_alerts"]
    }
    alerts = {rule["alert"] for rule in _rules() if "alert" in rule}
    if untested := alerts - tested:
        raise Wrong(f"no test in tests/rules/ lets these alerts fire: {', '.join(sorted(untested))}")
    return f"{len(alerts)} alerts are tested"


def check_runbooks() -> str:
    headings = re.findall(r"^#+ (.*)$", GUIDE.read_text(), re.MULTILINE)
    anchors = {f"docs/operations.md#{heading.lower().replace(' ', '-')}" for heading in headings}
    for rule in _rules():
        notes = rule.get("annotations", {})
        if "alert" in rule and notes.get("runbook") not in anchors:
            raise Wrong(f"{rule['alert']}: docs/operations.md has no section {notes.get('runbook')}")
        if "alert" in rule and not {"summary", "description"} <= notes.keys():
            raise Wrong(f"{rule['alert']} has no summary or no description")
    for target in re.findall(r"\]\(#([^)]*)\)", GUIDE.read_text()):
        if f"docs/operations.md#{target}" not in anchors:
            raise Wrong(f"docs/operations.md has no section #{target}")
    return "each has its section in docs/operations.md"


def check_examples() -> str:
    """What the guide tells to copy: values for the chart, and a scrape configuration."""
    values, scraping = re.findall(r"^```yaml\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    with _file(values) as path:
        rendered = _run(HELM, "template", "tenantry", str(CHART), f"--values={path}")
    kinds = re.findall(r"^kind: ((?:Service|Pod)Monitor|PrometheusRule)$", rendered, re.MULTILINE)
    if sorted(kinds) != ["PodMonitor", "PrometheusRule", "ServiceMonitor", "ServiceMonitor"]:
        raise Wrong(f"the values of docs/operations.md make {kinds}")
    with _file(scraping) as path:
        _run(PROMTOOL, "check", "config", path)
    return "the examples of docs/operations.md are valid"


def check_expressions() -> str:
    """Every expression parses, and names only metrics and labels that exist."""
    dashboard = dict(_dashboard_expressions(json.loads(DASHBOARD.read_text())))
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(dashboard.values())]
    with _file(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]})) as path:
        _run(PROMTOOL, "check", "rules", "--lint=none", path)
    recorded = {rule["record"] for rule in _rules() if "record" in rule}
    every = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in _rules()]
    for where, expr in [*every, *dashboard.items()]:
        _check_names(where, expr, recorded)
    return f"{len(every)} rules and {len(dashboard)} expressions of the dashboard name metrics that exist"


def _check_names(where: str, expr: str, recorded: set[str]) -> None:
    text = re.sub(r"tenantry:[a-z0-9_:]+", lambda m: "" if m[0] in recorded else "tenantry_unrecorded", expr)
    known = _sample_names()
    usable = set(TARGET_LABELS)
    for name, matchers in _METRIC.findall(text):
        if name not in known and not _PROCESS.fullmatch(name):
            raise Wrong(f"{where}: no program has the metric {name}")
        labels = known.get(name, frozenset()) | TARGET_LABELS
        usable |= labels
        if unknown := set(_MATCHER.findall(re.sub(r'"[^"]*"', "", matchers))) - labels:
            raise Wrong(f"{where}: {name} has no label {', '.join(sorted(unknown))}")
    for names in _GROUPING.findall(text):
        if unknown := {name.strip() for name in names.split(",") if name.strip()} - usable:
            raise Wrong(f"{where}: groups by {', '.join(sorted(unknown))}, which no metric in it has")


def _sample_names() -> dict[str, frozenset[str]]:
    """Labels by the names that expressions use."""
    names = {}
    for name, (kind, labels) in documented(*PARTS).items():
        for suffix in _SUFFIXES.get(kind, ("",)):
            names[name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return names


def _dashboard_expressions(dashboard: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """With a value in place of each variable."""
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            expr = target["expr"].replace("$__rate_interval", "5m")
            yield f"panel {panel['title']!r}, {target['refId']}", re.sub(r"\$\w+", ".*", expr)


def _rules() -> Iterator[dict[str, Any]]:
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from group["rules"]


@contextmanager
def _file(content: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(content)
        file.flush()
        yield file.name


def _run(program: Program, *arguments: str) -> str:
    """Its output. Raises Wrong with it where the program is not content."""
    command = [str(require(program)), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if answer.returncode != 0:
        raise Wrong(f"{program.name} {' '.join(arguments[:2])}:\n{answer.stdout}{answer.stderr}")
    return answer.stdout


CHECKS: tuple[Callable[[], str], ...] = (check_rules, check_runbooks, check_examples, check_expressions)


def main() -> int:
    for check in CHECKS:
        try:
            print(f"monitoring: {check()}", flush=True)
        except (Wrong, ClusterError) as error:
            print(f"monitoring: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
