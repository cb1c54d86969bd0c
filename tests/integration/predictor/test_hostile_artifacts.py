"""Artifacts that are broken or meant to harm: a reason, the same process, and memory within its limit."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from artifacts import graphs, hostile
from integration.predictor.processes import PredictorProcess, model, problem

CACHE_BYTES = 64 << 20
ROOM_BYTES = 2 * CACHE_BYTES + (1 << 30)
"""What docs/untrusted.md promises."""

Ask = Callable[[str, bytes], dict[str, str]]


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PredictorProcess]:
    folder = tmp_path_factory.mktemp("hostile")
    flags = ["--prefix", f"file://{folder}/", "--ready-after", "0", "--cache-memory", str(CACHE_BYTES)]
    with PredictorProcess(folder, *flags) as process:
        before, pid = process.resident_bytes(), process.pid
        yield process
        assert process.pid == pid
        assert process.most_resident_bytes() < before + ROOM_BYTES


@pytest.fixture
def ask(predictor: PredictorProcess) -> Iterator[Ask]:
    """Puts an artifact where the predictor reads; afterwards it must still serve a good one."""
    folder = predictor.log.parent

    def put(name: str, data: bytes) -> dict[str, str]:
        (folder / name).write_bytes(data)
        suffix = name.rpartition(".")[2]
        return model(
            name.partition(".")[0], f"file://{folder}/{name}", graphs.digest(data), model_format=suffix
        )

    yield put
    good = put("good.onnx", graphs.linear([2.0]))
    assert predictor.predict(good, [[4.0]]).json() == [8.0]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (hostile.declared([1 << 40]), "no ONNX file that can be run"),
        (hostile.declared([1 << 28]), "no ONNX file that can be run"),
        (hostile.declared([-1, 5]), "no ONNX file that can be run"),
        (hostile.chain(50_000), "more than 20000 nodes"),
        (hostile.functions(40), "more than 20000 nodes"),
        (hostile.deep_tree(100_000), "deeper than 1000 splits"),
        (hostile.deep_tree(100_000, first_id=200_000, step=-1), "deeper than 1000 splits"),
    ],
    ids=["terabytes", "gigabyte", "negative", "chain", "functions", "tree", "disordered-tree"],
)
def test_a_graph_that_would_harm_is_not_loaded(
    predictor: PredictorProcess, ask: Ask, data: bytes, words: str
) -> None:
    for answer in (predictor.load(asked := ask("a.onnx", data)), predictor.predict(asked, [[1.0]])):
        refusal = problem(answer)
        assert (refusal["status"], refusal["reason"]) == (503, "LoadFailed")
        assert words in refusal["error"]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (hostile.constant_of_shape(1 << 40), 1),
        (hostile.constant_of_shape(1 << 31), 1),
        (hostile.folded(1 << 30, 8), 1),
        (hostile.outer_product(40_000), 1),
        (hostile.outer_product(6_000), 1),
    ],
    ids=["terabytes", "gigabytes", "folded", "answer", "large-answer"],
)
def test_a_prediction_that_asks_for_gigabytes_is_refused(
    predictor: PredictorProcess, ask: Ask, data: bytes, rows: int
) -> None:
    refusal = problem(predictor.predict(ask("b.onnx", data), [[1.0]] * rows))
    assert (refusal["status"], refusal["reason"]) == (422, "TooLarge")


def test_what_is_merely_large_is_served(predictor: PredictorProcess, ask: Ask) -> None:
    for tree in (hostile.deep_tree(950), hostile.deep_tree(950, first_id=1_900, step=-1)):
        assert predictor.predict(ask("c.onnx", tree), [[1.0]]).status_code == 200
    assert predictor.predict(ask("d.onnx", hostile.functions(10)), [[1.0]]).json() == [1.0]
    assert predictor.predict(ask("e.onnx", hostile.constant_of_shape(1 << 24)), [[1.0]]).json() == [2.0]


def test_a_graph_cut_off_anywhere(predictor: PredictorProcess, ask: Ask) -> None:
    data = graphs.linear([1.0, 2.0], columns=["a", "b"], sample=[[1, 2]])
    for end in (0, 1, 2, 7, *range(10, len(data), len(data) // 30), len(data) - 1):
        asked = ask(f"cut{end}.onnx", data[:end])
        answer = predictor.predict(asked, [[1.0, 1.0]])
        if answer.status_code != 200:  # protobuf reads some beginnings as whole messages
            assert problem(answer)["reason"] in ("LoadFailed", "InputMismatch", "InputRefused")
