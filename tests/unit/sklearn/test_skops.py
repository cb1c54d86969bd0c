"""skops files as a predictor opens them: in a process of its own, within the platform's list of types."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder
from sklearn.tree import DecisionTreeRegressor

from tenantry_core.problems import Problem
from tenantry_predictor.errors import LoadError
from tenantry_predictor.runtimes.base import LoadedModel
from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.native import CRASHES, NativeModel, WorkerLoader
from tenantry_predictor.runtimes.skops_file import Description, dump
from tenantry_predictor.runtimes.skops_trust import UntrustedType
from tenantry_predictor.tables import TableReader
from unit.sklearn.estimators import DELAY, FITTED, FLIGHTS, LATE, NUMBERS

Write = Callable[[bytes], Path]


@pytest.fixture(scope="module")
def loader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerLoader]:
    """Its fork server starts at the first load, in an environment with a secret in it."""
    made = WorkerLoader()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_SECRET_ACCESS_KEY", "open sesame")
        made.load(
            "skops", _written(tmp_path_factory.mktemp("first") / "model.skops", file_of(FITTED["linear"][0]))
        )
    yield made
    made.close()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return lambda content: _written(tmp_path / "model.skops", content)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def file_of(model: Any, sample: pd.DataFrame | None = None) -> bytes:
    return dump(model, Description.of(columns_of(model, sample), sample))


def asked(served: LoadedModel, frame: pd.DataFrame, output: str | None = None) -> list[Any]:
    body = frame.to_json(orient="records", double_precision=15).encode()
    tensors = TableReader(served.inputs, served.columns).read(body)
    name = output or served.outputs[0].name
    answer = served.predict(tensors, [name])[name]
    return list((answer[:, 0] if answer.ndim == 2 and answer.shape[1] == 1 else answer).tolist())


def edited(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """The archive with some of its members changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return buffer.getvalue()


def edited_arrays(
    content: bytes, wanted: Callable[[np.ndarray], bool], change: Callable[[np.ndarray], None]
) -> bytes:
    """The archive with some of its arrays changed."""

    def each(name: str, data: bytes) -> bytes:
        if not name.endswith(".npy"):
            return data
        array = np.load(io.BytesIO(data))
        if wanted(array):
            change(array)
        buffer = io.BytesIO()
        np.save(buffer, array)
        return buffer.getvalue()

    return edited(content, each)


# What is served, and by what


@pytest.mark.parametrize(
    "name", ["linear", "one-hot logistic", "scaled tree", "neighbours", "ordinal forest"]
)
def test_what_converts_is_served_by_onnx(loader: WorkerLoader, write: Write, name: str) -> None:
    model, rows = FITTED[name]
    served = loader.load("skops", write(file_of(model, rows)))
    assert served.engine == "onnx"
    assert served.columns == tuple(rows.columns)
    assert served.sample is not None
    expected = model.predict(rows).tolist()
    assert asked(served, rows) == (
        expected if isinstance(expected[0], str) else pytest.approx(expected, rel=1e-4, abs=1e-3)
    )
    served.close()


def test_what_does_not_convert_is_served_as_it_is(loader: WorkerLoader, write: Write) -> None:
    model = HistGradientBoostingRegressor(max_iter=10).fit(NUMBERS, DELAY)
    served = loader.load("skops", write(file_of(model, NUMBERS)))
    assert served.engine == "sklearn"
    assert served.blocks
    assert served.size_bytes > 1_000_000
    assert asked(served, NUMBERS) == pytest.approx(model.predict(NUMBERS).tolist(), rel=1e-12)
    served.close()


def test_strings_labels_and_probabilities_pass_through_the_worker(loader: WorkerLoader, write: Write) -> None:
    encoder = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["carrier"]), remainder="passthrough"
    )
    model = make_pipeline(encoder, HistGradientBoostingClassifier(max_iter=10)).fit(FLIGHTS, LATE)
    served = loader.load("skops", write(file_of(model, FLIGHTS)))
    assert served.engine == "sklearn"
    assert asked(served, FLIGHTS) == model.predict(FLIGHTS).tolist()
    expected = model.predict_proba(FLIGHTS)
    np.testing.assert_allclose(asked(served, FLIGHTS, "probabilities"), expected, rtol=1e-12)
    served.close()


def test_boosting_over_categories_is_served_with_its_strings(loader: WorkerLoader, write: Write) -> None:
    table = FLIGHTS.assign(carrier=FLIGHTS["carrier"].astype("category"))
    model = HistGradientBoostingRegressor(max_iter=10).fit(table, DELAY)
    served = loader.load("skops", write(file_of(model)))
    assert [tensor.datatype for tensor in served.inputs] == ["BYTES", "FP64", "FP64"]
    assert asked(served, FLIGHTS) == pytest.approx(model.predict(table).tolist(), rel=1e-12)
    served.close()


def test_a_file_that_skops_wrote_itself_is_served_too(loader: WorkerLoader, write: Write) -> None:
    served = loader.load("skops", write(skops.io.dumps(FITTED["linear"][0])))
    assert served.engine == "onnx"
    assert served.columns == ("air time", "hour")


def test_an_estimator_that_asks_for_many_processes_gets_none(loader: WorkerLoader, write: Write) -> None:
    model = KNeighborsRegressor(n_jobs=64).fit(NUMBERS, DELAY)
    served = loader.load(
        "skops",
        write(
            file_of(
                make_pipeline(SimpleImputer(strategy="median", add_indicator=True), model).fit(NUMBERS, DELAY)
            )
        ),
    )
    assert len(asked(served, NUMBERS.head(3))) == 3
    served.close()


def test_what_the_estimator_refuses_is_422_and_no_crash(loader: WorkerLoader, write: Write) -> None:
    encoder = make_column_transformer(
        (OneHotEncoder(sparse_output=False), ["carrier"]), remainder="passthrough"
    )
    model = make_pipeline(encoder, HistGradientBoostingRegressor(max_iter=5)).fit(FLIGHTS, DELAY)
    served = loader.load("skops", write(file_of(model, FLIGHTS)))
    for _ in range(CRASHES + 1):
        with pytest.raises(Problem, match="unknown categories") as refused:
            asked(served, FLIGHTS.head(1).assign(carrier="ZZ"))
        assert refused.value.status == 422
    assert len(asked(served, FLIGHTS.head(1))) == 1
    served.close()


# What is refused, each with its reason; the loader goes on


def refused(loader: WorkerLoader, path: Path) -> LoadError:
    with pytest.raises(LoadError) as caught:
        loader.load("skops", path)
    return caught.value


def test_a_type_that_is_not_on_the_list_is_named(loader: WorkerLoader, write: Write) -> None:
    model = make_pipeline(FunctionTransformer(os.system), Ridge())
    model.steps[0][1].func = os.system
    error = refused(loader, write(skops.io.dumps(model)))
    assert error.reason == "FormatNotTrusted"
    assert "posix.system" in error.message


def test_a_method_is_not_on_the_list(loader: WorkerLoader, write: Write) -> None:
    model = LinearRegression().fit(NUMBERS, DELAY)
    model.extra = LinearRegression().fit(NUMBERS, DELAY).predict
    assert refused(loader, write(skops.io.dumps(model))).reason == "FormatNotTrusted"


def test_publishing_refuses_what_predictors_would() -> None:
    model = make_pipeline(FunctionTransformer(np.abs), Ridge()).fit(NUMBERS, DELAY)
    model.steps[0][1].func = json.dumps
    with pytest.raises(UntrustedType, match=r"json\.dumps"):
        file_of(model, NUMBERS)


def test_a_vectoriser_that_reads_files_is_refused(loader: WorkerLoader, write: Write) -> None:
    counts = make_column_transformer((CountVectorizer(), "carrier"), remainder="passthrough")
    model = make_pipeline(counts, Ridge()).fit(FLIGHTS, DELAY)
    model.steps[0][1].transformers_[0][1].input = "filename"
    error = refused(loader, write(file_of(model, FLIGHTS)))
    assert error.reason == "LoadFailed"
    assert "would read files" in error.message


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_refused(loader: WorkerLoader, write: Write, kept: float) -> None:
    content = file_of(FITTED["decision tree"][0])
    error = refused(loader, write(content[: int(len(content) * kept)]))
    assert error.reason == "LoadFailed"
    assert "truncated" in error.message


def test_a_zip_of_something_else_is_refused(loader: WorkerLoader, write: Write) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "no schema.json" in refused(loader, write(buffer.getvalue())).message


def test_a_file_without_a_model_is_refused(loader: WorkerLoader, write: Write) -> None:
    assert "has no predict" in refused(loader, write(skops.io.dumps({"no": "model"}))).message


@pytest.mark.parametrize(("told", "sentence"), [(600 << 20, "unpacks to more than"), (1000, "corrupt")])
def test_a_zip_bomb_is_refused(loader: WorkerLoader, write: Write, told: int, sentence: str) -> None:
    """Whether it tells its size, and is not unpacked, or tells a small one, and is unpacked no further."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (64 << 20))
        archive.getinfo("schema.json").file_size = told
    assert len(buffer.getvalue()) < 1 << 20
    assert sentence in refused(loader, write(buffer.getvalue())).message


def test_an_array_that_claims_a_terabyte_is_refused(loader: WorkerLoader, write: Write) -> None:
    def inflated(name: str, data: bytes) -> bytes:
        if not name.endswith(".npy"):
            return data
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (137438953472,), }"
        return b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"

    content = edited(file_of(FITTED["linear"][0]), inflated)
    assert refused(loader, write(content)).reason == "LoadFailed"


def test_a_schema_nested_without_end_is_refused(loader: WorkerLoader, write: Write) -> None:
    deep = b'{"__class__":"list","__module__":"builtins","__loader__":"ListNode","content":[' * 20_000
    content = edited(file_of(FITTED["linear"][0]), lambda name, data: deep if name == "schema.json" else data)
    assert refused(loader, write(content)).reason == "LoadFailed"


@pytest.mark.parametrize(
    ("field", "value"),
    [("left_child", 10_000_000), ("right_child", 0), ("feature", 5_000_000), ("feature", -7)],
)
def test_a_tree_that_points_outside_of_itself_is_refused(
    loader: WorkerLoader, write: Write, field: str, value: int
) -> None:
    model = DecisionTreeRegressor(max_depth=3).fit(NUMBERS, DELAY)
    content = edited_arrays(
        file_of(model), lambda a: a.dtype.names is not None, lambda a: a[field].__setitem__(0, value)
    )
    error = refused(loader, write(content))
    assert error.reason == "LoadFailed"
    assert "decision tree" in error.message


def test_a_boosted_tree_that_points_outside_of_itself_is_refused(loader: WorkerLoader, write: Write) -> None:
    model = HistGradientBoostingRegressor(max_iter=3).fit(NUMBERS, DELAY)
    content = edited_arrays(
        file_of(model), lambda a: a.dtype.names is not None, lambda a: a["left"].__setitem__(0, 1 << 30)
    )
    assert "points outside" in refused(loader, write(content)).message


def test_the_loader_goes_on_after_all_of_that(loader: WorkerLoader, write: Write) -> None:
    model, rows = FITTED["linear"]
    assert loader.load("skops", write(file_of(model, rows))).engine == "onnx"


# A worker that falls


def native(loader: WorkerLoader, write: Write) -> NativeModel:
    model = HistGradientBoostingRegressor(max_iter=10).fit(NUMBERS, DELAY)
    served = loader.load("skops", write(file_of(model, NUMBERS)))
    assert isinstance(served, NativeModel)
    return served


def hostile_neighbours() -> bytes:
    """A k-d tree whose indices lead far out of its memory: every type in it is allowed."""
    model = KNeighborsRegressor(algorithm="kd_tree").fit(NUMBERS, DELAY)
    count = len(NUMBERS)

    def far(array: np.ndarray) -> None:
        array[:] = 1 << 50

    return edited_arrays(
        file_of(model),
        lambda a: a.dtype == np.int64 and a.shape == (count,) and sorted(a.tolist()) == list(range(count)),
        far,
    )


def test_a_file_that_crashes_the_process_which_opens_it_only_fails(
    loader: WorkerLoader, write: Write
) -> None:
    error = refused(loader, write(hostile_neighbours()))
    assert error.reason == "LoadFailed"
    assert "crashed the process" in error.message


def test_a_crash_costs_one_request_and_no_other_model(loader: WorkerLoader, write: Write) -> None:
    neighbour = native(loader, write)
    before, others = asked(neighbour, NUMBERS), workers()
    served = native(loader, write)
    [worker] = workers() - others
    os.kill(worker, signal.SIGSEGV)
    with pytest.raises(Problem) as caught:
        asked(served, NUMBERS)
    assert (caught.value.status, caught.value.reason) == (500, "ModelCrashed")
    assert asked(served, NUMBERS) == pytest.approx(before), "it is made anew"
    assert workers() > others, "the neighbour's process is the same"
    assert asked(neighbour, NUMBERS) == before
    served.close()
    neighbour.close()


def test_a_model_that_keeps_crashing_is_left_alone(loader: WorkerLoader, write: Write) -> None:
    others = workers()
    served = native(loader, write)
    for crash in range(CRASHES):
        for worker in workers() - others:
            os.kill(worker, signal.SIGKILL)
        with pytest.raises(Problem) as caught:
            asked(served, NUMBERS)
        assert caught.value.reason == "ModelCrashed"
        if crash < CRASHES - 1:
            assert len(asked(served, NUMBERS.head(2))) == 2
    with pytest.raises(Problem) as caught:
        asked(served, NUMBERS)
    assert (caught.value.status, caught.value.reason) == (503, "ModelQuarantined")
    assert caught.value.retry_after is not None
    wait_until(lambda: not workers() - others)
    served.close()


def test_a_model_that_takes_too_long_is_stopped(
    loader: WorkerLoader, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = workers()
    served = native(loader, write)
    monkeypatch.setattr("tenantry_predictor.runtimes.native.PREDICT_SECONDS", 0.3)
    [worker] = workers() - others
    os.kill(worker, signal.SIGSTOP)
    with pytest.raises(Problem) as caught:
        asked(served, NUMBERS)
    assert (caught.value.status, caught.value.reason) == (504, "ModelTimeout")
    monkeypatch.undo()
    assert len(asked(served, NUMBERS)) == len(NUMBERS)
    served.close()


def test_the_file_may_leave_the_disk_while_the_model_is_served(
    loader: WorkerLoader, write: Write, tmp_path: Path
) -> None:
    others = workers()
    served = native(loader, write)
    for file in tmp_path.iterdir():
        file.unlink()
    for worker in workers() - others:
        os.kill(worker, signal.SIGKILL)
    with pytest.raises(Problem):
        asked(served, NUMBERS)
    assert len(asked(served, NUMBERS)) == len(NUMBERS)
    served.close()


def test_several_threads_share_a_model(loader: WorkerLoader, write: Write) -> None:
    served = native(loader, write)
    expected = asked(served, NUMBERS)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: asked(served, NUMBERS) == expected, range(12))) == [True] * 12
    served.close()


def test_closing_a_model_ends_its_process(loader: WorkerLoader, write: Write) -> None:
    others = workers()
    served = native(loader, write)
    assert len(workers() - others) == 1
    served.close()
    wait_until(lambda: not workers() - others)


def test_workers_know_no_credentials(loader: WorkerLoader, write: Write) -> None:
    others = workers()
    served = native(loader, write)
    [worker] = workers() - others
    environment = Path(f"/proc/{worker}/environ").read_bytes()
    assert b"PATH=" in environment
    assert b"sesame" not in environment
    served.close()


def test_nothing_outlives_a_predictor_that_is_killed(write: Write) -> None:
    path = write(file_of(HistGradientBoostingRegressor(max_iter=5).fit(NUMBERS, DELAY), NUMBERS))
    program = (
        "import sys, time, pathlib; from tenantry_predictor.runtimes.native import WorkerLoader; "
        "loader = WorkerLoader(); model = loader.load('skops', pathlib.Path(sys.argv[1])); "
        "print(model.engine, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as predictor:
        assert predictor.stdout is not None
        assert predictor.stdout.readline() == "sklearn\n"
        [server] = children(predictor.pid)
        [worker] = children(server)
        predictor.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (server, worker)))


def children(pid: int) -> set[int]:
    return {int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task)}


def _children(task: Path) -> list[str]:
    return (task / "children").read_text().split()


def workers() -> set[int]:
    """Processes that hold models: the children of our fork servers."""
    return {worker for server in children(os.getpid()) for worker in children(server)}


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)
