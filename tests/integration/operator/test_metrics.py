"""What the programs really tell Prometheus, against the guide by which rules and dashboard are checked."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.binaries import require
from cluster.controlplane import ControlPlane
from cluster.ports import free_ports
from cluster.programs import PROMTOOL
from cluster.s3server import S3Server
from integration.harness import BUCKET, Installation
from integration.router.processes import address, entry, http, start_router, write_snapshot
from integration.waiting import wait_for
from metrics_guide import PARTS, Documented, documented

Expositions = dict[str, list[str]]
STATES = ("ready", "lost", "leaving")


@pytest.fixture(scope="module")
def expositions(
    plane: ControlPlane, s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory
) -> Expositions:
    """After something of everything that is counted by label."""
    with Installation(plane, s3_server) as made:
        made.apply("served", made.publish("served", 2, 1), minReplicas=2)
        made.apply("lost", {"uri": f"s3://{BUCKET}/nothing.onnx"})
        made.wait_answers("served", 3)
        made.wait_ready("served")
        assert made.wait_ready("lost", "False") == "ArtifactNotFound"
        for user in range(20):
            assert made.router.post(f"/predict/served:{user}", json=[[1, 2, 3]]).status_code == 422
            assert made.answers(f"served:{user}", 3)
        _talk_nonsense("127.0.0.1", made.router_port)
        for pod in made.kubelet.pods():
            _talk_nonsense(pod.host, pod.port)
        wait_for(lambda: _is_told(made), 60, "all that has happened is told")
        told = {part: made.expositions(part) for part in PARTS}
    told["Router"].append(_of_a_router_without_predictors(tmp_path_factory.mktemp("snapshot")))
    return told


def _is_told(made: Installation) -> bool:
    """Whether what is counted beside the answers, and looked at from time to time, has arrived."""
    told = {part: [samples(text) for text in made.expositions(part)] for part in PARTS}
    [operator], [router], predictors = told["Operator"], told["Router"], told["Predictor"]
    refused = 'tenantry_http_refused_total{status="400"}'
    return (
        operator.get('tenantry_operator_models{ready="True",reason="Probed"}') == 1
        and operator.get('tenantry_operator_slots{pool="default",state="ready"}') == 2
        and router.get('tenantry_router_slots{pool="default",state="available"}') == 2
        and all(refused in each for each in (router, *predictors))
        and sum(each["tenantry_predictor_models"] for each in predictors) == 2
    )


def _talk_nonsense(host: str, port: int) -> None:
    with socket.create_connection((host, port), timeout=10) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 400 ")


def _of_a_router_without_predictors(folder: Path) -> str:
    """Once it has met connections that are refused, and has put a slot out of rotation."""
    slots = dict(zip(("default-0", "default-1"), free_ports(2), strict=True))
    addresses = [address(slot, port) for slot, port in slots.items()]
    snapshot = write_snapshot(folder, [entry("models.acme", tuple(slots))], addresses)
    with start_router(snapshot.path) as router:

        def exposition() -> str:
            http.post(f"{router.url}/predict/acme:1", json=[[1]])
            text = http.get(f"{router.url}/metrics").text
            wanted = ("tenantry_router_ejections_total{", "tenantry_router_upstream_errors_total{")
            return text if all(name in text for name in wanted) else ""

        return wait_for(exposition, 60, "the router notices that its slots are gone")


@pytest.mark.parametrize("part", PARTS)
def test_the_guide_lists_what_is_told(expositions: Expositions, part: str) -> None:
    told: dict[str, Documented] = {}
    for text in expositions[part]:
        for family in text_string_to_metric_families(text):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            labels = frozenset(label for sample in family.samples for label in sample.labels) - {"le"}
            before = told.get(name, Documented(family.type, frozenset()))
            told[name] = Documented(family.type, before.labels | labels)
    own = {name: metric for name, metric in told.items() if name.startswith("tenantry_")}
    assert own == documented(part)
    assert {"process_resident_memory_bytes", "process_start_time_seconds"} <= told.keys()


@pytest.mark.parametrize("part", PARTS)
def test_promtool_has_nothing_to_say_about_them(expositions: Expositions, part: str) -> None:
    for text in expositions[part]:
        command = [str(require(PROMTOOL)), "check", "metrics"]
        answer = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        ours = [line for line in answer.stderr.splitlines() if line.startswith("tenantry_")]
        assert ours == []
        assert answer.returncode in (0, 3), answer.stderr  # 3: about names that are not ours


def test_nobody_is_named_but_tenants(expositions: Expositions) -> None:
    every = "".join(text for texts in expositions.values() for text in texts)
    assert 'tenant="served"' in every
    assert not re.search(r'"default\.(served|lost)"|served:\d|nothing\.onnx', every)


def test_the_operator_tells_how_models_and_slots_are(expositions: Expositions) -> None:
    [text] = expositions["Operator"]
    told = samples(text)
    assert told['tenantry_operator_models{ready="True",reason="Probed"}'] == 1
    assert told['tenantry_operator_models{ready="False",reason="ArtifactNotFound"}'] == 1
    slots = {state: told[f'tenantry_operator_slots{{pool="default",state="{state}"}}'] for state in STATES}
    assert slots == {"ready": 2, "lost": 0, "leaving": 0}
    assert (told["tenantry_operator_leading"], told["tenantry_operator_connected"]) == (1, 1)
    assert told['tenantry_operator_writes_total{kind="slice",outcome="written"}'] >= 1
    assert told["tenantry_operator_applied_timestamp_seconds"] > told["process_start_time_seconds"]


def test_predictors_tell_where_models_came_from_and_why_loads_failed(expositions: Expositions) -> None:
    every = [samples(text) for text in expositions["Predictor"]]

    def total(name: str) -> float:
        return sum(told.get(name, 0.0) for told in every)

    assert total("tenantry_predictor_models") == 2  # one model, on both slots
    assert total('tenantry_predictor_load_seconds_count{origin="miss"}') >= 2, "once a slot, twice at a time"
    assert total('tenantry_predictor_load_failures_total{reason="ArtifactNotFound"}') >= 1
    assert total('tenantry_predictor_errors_total{status="422",tenant="served"}') == 20
    assert total("tenantry_predictor_disk_bytes") > 0
    assert total("tenantry_predictor_busy_seconds_total") > 0


def test_a_router_tells_which_slots_it_may_use(expositions: Expositions) -> None:
    whole, alone = map(samples, expositions["Router"])
    assert whole['tenantry_router_slots{pool="default",state="available"}'] == 2
    assert alone['tenantry_router_slots{pool="default",state="ejected"}'] == 1
    assert whole['tenantry_router_problems_total{reason="InputMismatch",status="422"}'] == 20
    assert alone['tenantry_router_problems_total{reason="Unreachable",status="503"}'] >= 1


def samples(text: str) -> dict[str, float]:
    """By name and labels, as they are written."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
