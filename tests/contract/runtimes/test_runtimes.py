"""What every runtime keeps, whatever computes: asked as the data plane asks."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from contract.runtimes.cases import (
    CLASSIFIERS,
    REGRESSORS,
    ROWS,
    TABLE,
    Case,
    classifiers,
    install_custom_format,
    regressors,
)
from integration.waiting import wait_for
from tenantry_core.problems import Problem
from tenantry_core.values import DATATYPES, AnyArray
from tenantry_predictor.errors import LoadError
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.runtimes.memory import MemoryMeter
from tenantry_predictor.runtimes.registry import Runtimes
from tenantry_predictor.tables import TableReader

Open = Callable[[Case], LoadedModel]

NATIVE = [name for name in REGRESSORS if name.endswith("native")]


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtimes]:
    packages = tmp_path_factory.mktemp("packages")
    install_custom_format(packages)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(packages)
        made = Runtimes()
        yield made
        made.close()


@pytest.fixture
def opened(runtimes: Runtimes, tmp_path: Path) -> Open:
    """Opens a case anew; the test closes it."""

    def opened(case: Case) -> LoadedModel:
        path = tmp_path / "artifact"
        path.write_bytes(case.content)
        return runtimes.open(case.format, path)

    return opened


@pytest.fixture(params=REGRESSORS, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return regressors()[request.param]


@pytest.fixture(scope="module")
def model(case: Case, runtimes: Runtimes, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoadedModel]:
    """The case opened, from a file that leaves the disk meanwhile."""
    path = tmp_path_factory.mktemp("artifacts") / "artifact"
    path.write_bytes(case.content)
    model = runtimes.open(case.format, path)
    path.unlink()
    yield model
    model.close()


def asked(model: LoadedModel, table: pd.DataFrame, output: str | None = None) -> AnyArray:
    """A frame as the body of a request; NaN as null."""
    rows = table.astype(object).where(table.notna(), None).to_dict(orient="records")
    tensors = TableReader(model.inputs, model.columns).read(msgspec.json.encode(rows))
    name = output or model.outputs[0].name
    return model.predict(tensors, [name])[name]


def flat(answer: AnyArray) -> AnyArray:
    return answer.reshape(len(answer))


def test_it_answers_as_the_library_does(case: Case, model: LoadedModel) -> None:
    assert model.engine == case.engine
    np.testing.assert_allclose(flat(asked(model, TABLE)), case.expected, rtol=1e-4, atol=1e-3)


def test_names_types_and_shapes_are_as_declared(model: LoadedModel) -> None:
    assert model.columns == ("hour", "amount")
    assert all(tensor.datatype in DATATYPES and tensor.shape[0] == -1 for tensor in model.inputs)
    for tensor in model.outputs:
        answer = asked(model, TABLE.head(7), tensor.name)
        assert answer.dtype == DATATYPES[tensor.datatype]
        assert answer.ndim == len(tensor.shape)
        assert answer.shape[0] == 7
        assert all(size in (-1, given) for size, given in zip(tensor.shape, answer.shape, strict=True))


def test_one_row_and_many_give_the_same_in_the_same_order(model: LoadedModel) -> None:
    together = flat(asked(model, TABLE.head(20)))
    alone = [flat(asked(model, TABLE.iloc[[row]]))[0] for row in range(20)]
    backwards = flat(asked(model, TABLE.head(20).iloc[::-1]))
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, backwards[::-1])


def test_wrong_input_is_named(model: LoadedModel) -> None:
    with pytest.raises(Problem, match="lacks the column 'amount'") as lacking:
        asked(model, TABLE[["hour"]].head(2))
    with pytest.raises(Problem, match="Row 1, column 'amount': expected a number") as text:
        asked(model, TABLE.head(2).astype(object).assign(amount=[1.0, "much"]))
    assert lacking.value.status == text.value.status == 422


def test_the_sample_in_the_file_is_answered(case: Case, model: LoadedModel) -> None:
    assert model.sample is not None
    tensors = TableReader(model.inputs, model.columns).read(model.sample)
    answer = model.predict(tensors, [model.outputs[0].name])[model.outputs[0].name]
    np.testing.assert_allclose(flat(answer), case.expected[:1], rtol=1e-4)


def test_bytes_are_measured_and_given_back(case: Case, opened: Open) -> None:
    opened(case).close()  # what the first load of a process sets up is no model's
    meter = MemoryMeter()
    with meter.measure(1) as grown:
        model = opened(case)
        size = model.size_bytes
        model.close()
        gc.collect()
    assert size > 1_000
    assert grown() < size / 2


def test_several_threads_share_it(case: Case, model: LoadedModel) -> None:

    def one(row: int) -> float:
        return float(flat(asked(model, TABLE.iloc[[row]]))[0])

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(one, range(40)))
    np.testing.assert_allclose(answers, case.expected[:40], rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("name", NATIVE)
def test_a_process_ends_with_its_model(opened: Open, name: str) -> None:
    before = children()
    model = opened(regressors()[name])
    assert children() - before
    model.close()
    wait_for(lambda: not children() - before, 60.0, "the model's process is gone")


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_answers_labels_and_probabilities(opened: Open, name: str) -> None:
    case = classifiers()[name]
    assert case.probabilities is not None
    model = opened(case)
    assert model.engine == case.engine
    assert [output.name for output in model.outputs] == ["label", "probabilities"]
    assert asked(model, TABLE).tolist() == case.expected.tolist()
    probabilities = asked(model, TABLE, "probabilities")
    assert probabilities.shape == (ROWS, 2)
    np.testing.assert_allclose(probabilities, case.probabilities, rtol=1e-4, atol=1e-5)
    model.close()


@pytest.mark.parametrize("name", REGRESSORS)
@pytest.mark.parametrize("part", [0.0, 0.02, 0.5, 0.97])
def test_a_file_that_is_cut_is_refused(opened: Open, name: str, part: float) -> None:
    case = regressors()[name]
    cut = Case(case.format, case.engine, case.content[: int(len(case.content) * part)], case.expected)
    with pytest.raises(LoadError) as refused:
        opened(cut)
    assert refused.value.reason == "LoadFailed"


def children() -> set[int]:
    """All processes below this one."""
    found: set[int] = set()
    waiting = [_own_pid()]
    while waiting:
        parent = waiting.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            below = _read(task)
            found |= below
            waiting.extend(below)
    return found


def _own_pid() -> int:
    return int(Path("/proc/self").resolve().name)


def _read(path: Path) -> set[int]:
    try:
        return set(map(int, path.read_text().split()))
    except OSError:  # it ended meanwhile
        return set()
