"""Checks the chart: its files, helm lint, its unit tests, and what it renders against schemas of all kinds.

What is rendered: without values, with each file in the chart's `ci/`, and with the tour's values. Needs the
programs of `python tests/cluster/build.py --chart`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from scripts import chart_files, kube_schemas
from scripts.chart_files import CHART, ROOT

from cluster import programs
from cluster.binaries import require
from cluster.errors import ClusterError

_SECONDS = 300.0


class Wrong(Exception):
    """What is wrong with the chart, and where it is not plain, what to do."""


def check_files() -> str:
    late = [str(path.relative_to(ROOT)) for path in chart_files.out_of_date()]
    if late:
        raise Wrong(f"{', '.join(late)}: not what crds/ asks for; run make chart")
    return "what it takes from crds/ is up to date"


def check_lint() -> str:
    for values in _value_sets():
        _run(programs.HELM, "lint", "--strict", "--quiet", str(CHART), f"--values={values}")
    return f"helm lint has nothing to say, with {len(_value_sets())} sets of values"


def check_unit() -> str:
    said = _run(programs.UNTT, "--strict", "--file=tests/*_test.yaml", str(CHART))
    passed = re.search(r"^Tests: +(\d+) passed", said, re.MULTILINE)
    if passed is None:
        raise Wrong(f"helm-unittest ran no test:\n{said}")
    return f"{passed[1]} unit tests of helm-unittest pass"


def check_manifests() -> str:
    """Every kind must have a schema, and every member must be in it."""
    location = f"{kube_schemas.directory()}/{kube_schemas.LOCATION}"
    count = 0
    for values in _value_sets():
        rendered = _run(programs.HELM, "template", "tenantry", str(CHART), f"--values={values}")
        _run(programs.KUBECONFORM, "-strict", "-schema-location", location, stdin=rendered, what=values.name)
        count += len(re.findall(r"^kind: ", rendered, re.MULTILINE))
    return f"{count} rendered objects fit the schemas of their kinds"


def _value_sets() -> list[Path]:
    return [*sorted((CHART / "ci").glob("*-values.yaml")), ROOT / "deploy/kind/values.yaml"]


def _run(program: programs.Program, *arguments: str, stdin: str = "", what: str = "") -> str:
    """Its output. Raises Wrong with it where the program is not content."""
    command = [str(require(program)), *arguments]
    answer = subprocess.run(
        command, input=stdin, capture_output=True, text=True, timeout=_SECONDS, check=False
    )
    if answer.returncode != 0:
        raise Wrong("\n".join(filter(None, (what, answer.stdout.strip(), answer.stderr.strip()))))
    return answer.stdout


CHECKS: tuple[Callable[[], str], ...] = (check_files, check_lint, check_unit, check_manifests)


def complaints() -> Iterator[str]:
    """Prints a line for each check that passes."""
    for check in CHECKS:
        began = time.monotonic()
        try:
            print(f"chart: {check()} ({time.monotonic() - began:.1f} s)", flush=True)
        except (Wrong, ClusterError, kube_schemas.SchemasUnavailable) as error:
            yield f"chart: {error}"


if __name__ == "__main__":
    found = list(complaints())
    for complaint in found:
        print(complaint, file=sys.stderr)
    sys.exit(1 if found else 0)
