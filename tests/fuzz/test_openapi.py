"""Router and predictor hold to their own descriptions, whatever they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import (
    ChecksConfig,
    GenerationConfig,
    PositiveDataAcceptanceConfig,
    ProjectConfig,
    ProjectsConfig,
    SchemathesisConfig,
)
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from artifacts import graphs
from integration.predictor.processes import PredictorProcess
from integration.router.processes import ServerProcess, address, entry, start_router, write_snapshot
from tenantry_core.slices import Reference, Target

SLOT = "default-0"
EXAMPLES = 5
"""For each route."""


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PredictorProcess]:
    folder = tmp_path_factory.mktemp("described")
    with PredictorProcess(folder, "--prefix", f"file://{folder}/", "--ready-after", "0") as process:
        yield process


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory, predictor: PredictorProcess) -> Iterator[ServerProcess]:
    folder = tmp_path_factory.mktemp("router")
    data = graphs.linear([1.0, 2.0], columns=["a", "b"])
    path = predictor.log.parent / "acme.onnx"
    path.write_bytes(data)
    target = Target(Reference(f"file://{path}", "onnx", graphs.digest(data)), (SLOT,))
    snapshot = write_snapshot(
        folder / "snapshot",
        [entry("models.acme", (SLOT,), targets=(target,)), entry("models.gone", ("gone-0",), pool="gone")],
        [address(SLOT, predictor.port)],
    )
    with start_router(snapshot.path) as process:
        yield process


def check_all(url: str, **known: Any) -> None:
    """Every route of the server's description, in and out of what it describes."""
    generation = GenerationConfig(deterministic=True, max_examples=EXAMPLES)
    # A table that is none of the model's, a model that is not there: well formed, and refused all the same.
    refused = PositiveDataAcceptanceConfig(
        expected_statuses=["2xx", "403", "404", "409", "415", "422", "503"]
    )
    checks = ChecksConfig(positive_data_acceptance=refused)
    project = ProjectConfig(generation=generation, checks=checks, request_timeout=60.0)
    config = SchemathesisConfig(projects=ProjectsConfig(default=project))
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    for result in schema.get_all_operations():
        assert isinstance(result, Ok), result
        check_operation(result.ok(), known)


def check_operation(operation: Any, known: dict[str, Any]) -> None:
    @given(case=operation.as_strategy())
    @settings(max_examples=EXAMPLES, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def conforms(case: schemathesis.Case[Any]) -> None:
        for name, value in known.items():
            if name in (case.path_parameters or {}):
                case.path_parameters[name] = value
        response = case.call()
        assert response.status_code != 500, response.text
        # A model that cannot be had is 503, which the description says.
        excluded: list[Any] = [not_a_server_error]
        if case.media_type == "application/octet-stream" or case.path.endswith("load"):
            excluded.append(positive_data_acceptance)  # no schema tells all of binary tensors, or of names
        case.validate_response(response, excluded_checks=excluded)

    conforms()


def test_the_router_is_as_described(router: ServerProcess) -> None:
    check_all(router.url)


def test_the_router_is_as_described_for_a_model_that_is_there(router: ServerProcess) -> None:
    check_all(router.url, user_id="acme:1", model="acme")


def test_the_predictor_is_as_described(predictor: PredictorProcess) -> None:
    check_all(predictor.url)
