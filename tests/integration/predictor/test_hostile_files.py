"""Files of the other formats, cut off, damaged or meant to harm, through a predictor's process."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import lightgbm
import numpy as np
import pytest
import skops.io
import xgboost
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import FunctionTransformer

from artifacts import graphs
from integration.predictor.processes import PredictorProcess, model, problem
from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.skops_file import Description, dump

ROWS = np.arange(40.0).reshape(20, 2)
TARGETS = ROWS.sum(axis=1)
LIMIT_BYTES = 1 << 30
"""Of growth, for the predictor's own process: what is in the files is opened in another one."""

Ask = Callable[[str, str, bytes], dict[str, str]]


@cache
def skops_file() -> bytes:
    fitted = LinearRegression().fit(ROWS, TARGETS)
    return dump(fitted, Description.of(columns_of(fitted), None))


@cache
def ubj_file() -> bytes:
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(ROWS, TARGETS), num_boost_round=3)
    return bytes(booster.save_raw("ubj"))


@cache
def xgb_json_file() -> bytes:
    booster = xgboost.train({"max_depth": 2}, xgboost.DMatrix(ROWS, TARGETS), num_boost_round=3)
    return bytes(booster.save_raw("json"))


@cache
def lightgbm_file() -> bytes:
    options = {"objective": "regression", "min_data_in_leaf": 2, "verbosity": -1}
    text: str = lightgbm.train(options, lightgbm.Dataset(ROWS, TARGETS), num_boost_round=3).model_to_string()
    return text.encode()


FILES = {
    "skops": ("skops", skops_file),
    "ubj": ("xgboost", ubj_file),
    "xgb.json": ("xgboost", xgb_json_file),
    "lgb.txt": ("lightgbm", lightgbm_file),
}


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PredictorProcess]:
    folder = tmp_path_factory.mktemp("hostile")
    with PredictorProcess(folder, "--prefix", f"file://{folder}/", "--ready-after", "0") as process:
        before, pid = process.resident_bytes(), process.pid
        yield process
        assert process.pid == pid
        assert process.most_resident_bytes() < before + LIMIT_BYTES


@pytest.fixture
def ask(predictor: PredictorProcess) -> Ask:
    folder = predictor.log.parent

    def put(model_format: str, name: str, data: bytes) -> dict[str, str]:
        (folder / name).write_bytes(data)
        uri = f"file://{folder}/{name}"
        return model(name.partition(".")[0], uri, graphs.digest(data), model_format=model_format)

    return put


@pytest.mark.parametrize("suffix", FILES)
def test_a_file_cut_off_anywhere(predictor: PredictorProcess, ask: Ask, suffix: str) -> None:
    model_format, make = FILES[suffix]
    whole = make()
    answer = predictor.predict(ask(model_format, f"whole.{suffix}", whole), [[1.0, 2.0]])
    assert answer.status_code == 200, answer.text
    for end in {1, 5, *range(30, len(whole), len(whole) // 8), len(whole) - 30, len(whole) - 2}:
        answer = predictor.load(ask(model_format, f"cut{end}.{suffix}", whole[:end]))
        if answer.status_code != 200:  # of a text, all that matters may be there already
            refusal = problem(answer)
            assert (refusal["status"], refusal["reason"]) == (503, "LoadFailed"), (end, refusal)
        else:
            assert suffix == "lgb.txt", end


@pytest.mark.parametrize("suffix", FILES)
def test_a_file_with_bytes_that_are_wrong(predictor: PredictorProcess, ask: Ask, suffix: str) -> None:
    model_format, make = FILES[suffix]
    whole = make()
    for number in range(6):
        at = (number * 2 + 1) * len(whole) // 12
        damaged = whole[:at] + bytes(255 - byte for byte in whole[at : at + 4]) + whole[at + 4 :]
        answer = predictor.load(ask(model_format, f"damaged{number}.{suffix}", damaged))
        if answer.status_code != 200:  # a number may be another number
            assert problem(answer)["reason"] in ("LoadFailed", "ProbeFailed", "FormatNotTrusted")


def zipped(change: Callable[[zipfile.ZipFile, dict[str, bytes]], None]) -> bytes:
    """The good skops file with something done to it while it is packed again."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(skops_file())) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        change(archive, members)
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def with_zeros(archive: zipfile.ZipFile, members: dict[str, bytes]) -> None:
    with archive.open("zeros", "w") as member:
        for _ in range(520):
            member.write(bytes(1 << 20))


def with_huge_array(_: zipfile.ZipFile, members: dict[str, bytes]) -> None:
    """An array whose head declares a terabyte."""
    buffer = io.BytesIO()
    head = {"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)}
    np.lib.format.write_array_header_1_0(buffer, head)
    name = next(name for name in members if name.endswith(".npy"))
    members[name] = buffer.getvalue() + bytes(64)


def with_archive_of_archives(_: zipfile.ZipFile, members: dict[str, bytes]) -> None:
    content = skops_file()
    for _depth in range(5):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("schema.json", content)
        content = buffer.getvalue()
    members["schema.json"] = content


def with_deep_schema(_: zipfile.ZipFile, members: dict[str, bytes]) -> None:
    members["schema.json"] = b'{"a":' * 50_000 + b"1" + b"}" * 50_000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (with_zeros, "unpacks to more than 512 MiB"),
        (with_huge_array, "more memory than a model may"),
        (with_archive_of_archives, "corrupt"),
        (with_deep_schema, "nested too deeply"),
    ],
    ids=["zeros", "declared", "nested", "deep"],
)
def test_an_archive_that_is_a_bomb(
    predictor: PredictorProcess,
    ask: Ask,
    change: Callable[[zipfile.ZipFile, dict[str, bytes]], None],
    words: str,
) -> None:
    refusal = problem(predictor.load(ask("skops", "bomb.skops", zipped(change))))
    assert refusal["reason"] == "LoadFailed"
    assert words in refusal["error"]


def test_names_that_lead_elsewhere_lead_nowhere(predictor: PredictorProcess, ask: Ask) -> None:
    """Nothing is unpacked to the disk: such members are as good as not there."""
    outside = predictor.log.parent / "outside"

    def escape(archive: zipfile.ZipFile, _: dict[str, bytes]) -> None:
        archive.writestr("../../../../../../../" + str(outside), b"x")
        archive.writestr(str(outside), b"x")
        link = zipfile.ZipInfo("link.npy")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")

    assert predictor.predict(ask("skops", "names.skops", zipped(escape)), [[1.0, 2.0]]).json() == [3.0]
    assert not outside.exists()


def test_an_array_that_is_a_link_is_no_array(predictor: PredictorProcess, ask: Ask) -> None:
    def relink(_: zipfile.ZipFile, members: dict[str, bytes]) -> None:
        schema: dict[str, Any] = json.loads(members["schema.json"])
        text = json.dumps(schema)
        name = next(name for name in members if name.endswith(".npy"))
        members["schema.json"] = text.replace(name, "../../../../etc/passwd").encode()

    refusal = problem(predictor.load(ask("skops", "relinked.skops", zipped(relink))))
    assert refusal["reason"] == "LoadFailed"
    assert "root:" not in refusal["error"]


def test_types_that_are_not_on_the_list(predictor: PredictorProcess, ask: Ask) -> None:
    content = skops.io.dumps(FunctionTransformer(np.save))
    forbidden = zipfile.ZipFile(io.BytesIO(content)).read("schema.json").replace(b"save", b"system")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("schema.json", forbidden.replace(b"numpy", b"os"))
    refusal = problem(predictor.load(ask("skops", "types.skops", buffer.getvalue())))
    assert refusal["reason"] == "FormatNotTrusted"
    assert "os.system" in refusal["error"]
