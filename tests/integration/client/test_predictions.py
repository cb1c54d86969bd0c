"""The clients with a real router: tables and tensors in, Series and arrays out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from integration.client.conftest import Connect
from integration.local.running import Up
from integration.waiting import wait_for
from tenantry import Client, publish
from tenantry.client.errors import InvalidInput, NotFound
from tenantry.local_target import LocalTarget

_rng = np.random.default_rng(1)
ROWS = pd.DataFrame(
    {"city": _rng.choice(["oslo", "rome"], 40), "size": _rng.normal(size=40), "age": _rng.normal(size=40)},
    index=[f"flat {number}" for number in range(40)],
)
NUMBERS = ROWS[["size", "age"]]
PRICE = ROWS["size"] * 3 - ROWS["age"]
PRICES = LinearRegression().fit(NUMBERS, PRICE)
SOLD = make_pipeline(
    make_column_transformer((OneHotEncoder(), ["city"]), remainder="passthrough"), LogisticRegression()
).fit(ROWS, np.where(PRICE > 0, "soon", "later"))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with Up(tmp_path_factory.mktemp("client") / "state") as up:
        target = LocalTarget(up.directory)
        for tenant, model, rows in (("prices", PRICES, NUMBERS), ("sold", SOLD, ROWS)):
            published = publish(model, tenant=tenant, sample=rows, to=up.directory.models_prefix)
            target.apply(published.manifest(), "default")
        with Client(up.url) as client:
            wait_for(lambda: all(map(client.ready, ("prices", "sold"))), 60, "both models are ready")
        yield up


@pytest.fixture
def client(up: Up, connect: Connect) -> Any:
    return connect(up.url)


def test_a_frame_brings_a_series_with_its_index(client: Any) -> None:
    answer = client.predict("prices", NUMBERS)
    pd.testing.assert_series_equal(answer, pd.Series(PRICES.predict(NUMBERS), NUMBERS.index), rtol=1e-3)


def test_records_and_arrays_bring_arrays(client: Any) -> None:
    for table in (NUMBERS.to_dict("records"), NUMBERS.to_numpy(), NUMBERS.to_numpy().tolist()):
        np.testing.assert_allclose(client.predict("prices", table), PRICES.predict(NUMBERS), rtol=1e-3)


def test_strings_go_in_and_labels_come_out(client: Any) -> None:
    assert client.predict("sold", ROWS).tolist() == SOLD.predict(ROWS).tolist()


def test_another_output_has_a_column_a_class(client: Any) -> None:
    answer = client.predict("sold", ROWS, "probabilities")
    assert answer.index.equals(ROWS.index)
    np.testing.assert_allclose(answer, SOLD.predict_proba(ROWS), rtol=1e-3)


def test_a_prediction_tells_its_route(client: Any) -> None:
    prediction = client.prediction("prices", NUMBERS)
    assert (prediction.route.model, len(prediction.route.version)) == ("default.prices", 12)
    assert prediction.route.slot.startswith("default-")
    assert len(prediction.values) == len(NUMBERS)


def test_tensors_go_in_and_come_out(client: Any) -> None:
    inference = client.infer("prices", {"input": NUMBERS.to_numpy(np.float32)})
    np.testing.assert_allclose(inference.outputs["variable"][:, 0], PRICES.predict(NUMBERS), rtol=1e-3)
    assert inference.outputs["variable"].dtype == np.float32
    assert inference.route.model == "default.prices"


def test_tensors_of_strings_and_chosen_outputs(client: Any) -> None:
    inputs = {name: ROWS[[name]].to_numpy() for name in ROWS}
    outputs = client.infer("sold", inputs, ["label"]).outputs
    assert list(outputs) == ["label"]
    assert outputs["label"].tolist() == SOLD.predict(ROWS).tolist()


def test_what_does_not_suit_the_model_is_named(client: Any) -> None:
    with pytest.raises(InvalidInput, match="lacks the column 'age'"):
        client.predict("prices", NUMBERS[["size"]])
    with pytest.raises(InvalidInput, match="Input 'input' is missing"):
        client.infer("prices", {"other": NUMBERS.to_numpy()})


def test_nobody_is_not_found(client: Any) -> None:
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        client.predict("nobody", NUMBERS)


def test_the_tenant_of_a_client_is_asked_about_its_users(up: Up, connect: Connect) -> None:
    answer = connect(up.url, tenant="prices").predict("user-7", NUMBERS)
    np.testing.assert_allclose(answer, PRICES.predict(NUMBERS), rtol=1e-3)


def test_a_user_is_explained(client: Any) -> None:
    assert client.explain("prices")["model"] == "default.prices"


def test_router_and_models_say_whether_they_are_ready(client: Any) -> None:
    assert (client.ready(), client.ready("prices"), client.ready("nobody")) == (True, True, False)


def test_an_http_client_of_the_callers_own_stays_open(up: Up) -> None:
    with httpx.Client(trust_env=False, headers={"X-Team": "research"}) as own:
        with Client(up.url, http_client=own) as client:
            assert client.ready()
        assert not own.is_closed
