"""Servers of the same models, each started as its own documents say: Tenantry, and the peers of `peers/`."""

from __future__ import annotations

import contextlib
import json
import pickle
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from models import COLUMNS, Model
from peers.environment import UnavailableError, environment
from processes import StartError, free_port, running
from tenantry_core.slices import Entry, Reference, SliceContent, Target
from tenantry_core.snapshot import AddressBook, SlotAddress, SnapshotFolder

Records = list[dict[str, float]]
_PEERS = Path(__file__).parent / "peers"
_SLICE = 100


def _as_list(records: Records) -> Any:
    return records


def _as_tensor(records: Records) -> Any:
    """A request of the Open Inference Protocol."""
    data = [record[name] for record in records for name in COLUMNS]
    tensor = {"name": "input", "shape": [len(records), len(COLUMNS)], "datatype": "FP64", "data": data}
    return {"inputs": [tensor]}


@dataclass(frozen=True)
class Contender:
    """A server of models by name; `{}` of the path and of the headers' values is replaced with it."""

    name: str
    port: int
    pids: tuple[int, ...]
    """Of the processes that were started; what they started counts, too."""
    path: str = "/predict/{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    encode: Callable[[Records], Any] = _as_list
    before: str = ""
    """What stands before the list of predictions in an answer."""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)

    def target(self, model: str) -> tuple[str, dict[str, str]]:
        """Path and headers of a request to a model."""
        return self.path.format(model), {name: value.format(model) for name, value in self.headers.items()}

    def ask(self, client: httpx.Client, model: str, records: Records) -> str:
        """The predictions as they are written in the answer. Exits where there are none."""
        path, headers = self.target(model)
        answer = client.post(path, headers=headers, json=self.encode(records))
        begun = answer.text.find(self.before) + len(self.before)
        if answer.status_code != 200 or not answer.text.startswith("[", begun):
            sys.exit(f"{self.name} answered {answer.status_code} for {model}: {answer.text[:500]}")
        return answer.text[begun : answer.text.index("]", begun) + 1]


Start = Callable[[Path, Sequence[Model]], AbstractContextManager[Contender]]


@contextlib.contextmanager
def tenantry(folder: Path, models: Sequence[Model], *options: str) -> Iterator[Contender]:
    """A router, with these options, and a slot that reads the models from a folder."""
    artifacts = folder / "artifacts"
    artifacts.mkdir(exist_ok=True)
    for model in models:
        (artifacts / f"{model.name}.onnx").write_bytes(model.onnx)
    with tenantry_over(f"file://{artifacts}/", folder, models, router=options) as contender:
        yield contender


@contextlib.contextmanager
def tenantry_over(
    uri: str, folder: Path, models: Sequence[Model], *, slot: Sequence[str] = (), router: Sequence[str] = ()
) -> Iterator[Contender]:
    """A router and one slot, each with these options, over a hand-written snapshot of what lies at `uri`.

    Snapshot and disk tier are in `folder`; the latter outlives the slot.
    """
    router_port, slot_port = free_port(), free_port()
    snapshot = SnapshotFolder(folder / "snapshot")
    entries = [_entry(uri, model) for model in models]
    for begun in range(0, len(entries), _SLICE):
        content = SliceContent(tuple(entries[begun : begun + _SLICE]))
        snapshot.write_slice(f"placement-20-{begun}", content)
    address = SlotAddress("default-0", "default", "127.0.0.1", {"http": slot_port})
    snapshot.write_addresses(AddressBook((address,)))
    slot_command = [
        *(sys.executable, "-m", "tenantry_predictor", "--slot", "default-0", "--ready-after", "0"),
        *("--port", str(slot_port), "--cache-dir", str(folder / "cache"), "--prefix", uri),
        *("--cache-memory", str(8 << 30), *slot, "--log-level", "warning"),
    ]
    router_command = [
        *(sys.executable, "-m", "tenantry_router", "--snapshot", str(snapshot.path)),
        *("--port", str(router_port), *router, "--log-level", "warning"),
    ]
    with running(slot_command, slot_port) as first, running(router_command, router_port) as second:
        yield Contender("tenantry", router_port, (first.pid, second.pid))


def _entry(uri: str, model: Model) -> Entry:
    target = Target(Reference(f"{uri}{model.name}.onnx", "onnx", model.sha256), ("default-0",))
    created = "2026-01-01T00:00:00Z"
    return Entry(f"models.{model.name}", model.name, created, 1, model.name, "default", targets=(target,))


@contextlib.contextmanager
def flask(folder: Path, models: Sequence[Model]) -> Iterator[Contender]:
    with _script("flask", folder, models) as (port, pid):
        yield Contender("flask", port, (pid,))


@contextlib.contextmanager
def fastapi(folder: Path, models: Sequence[Model]) -> Iterator[Contender]:
    with _script("fastapi", folder, models) as (port, pid):
        yield Contender("fastapi", port, (pid,))


@contextlib.contextmanager
def ray(folder: Path, models: Sequence[Model]) -> Iterator[Contender]:
    with _script("ray", folder, models) as (port, pid):
        headers = {"serve_multiplexed_model_id": "{}"}
        yield _serving(Contender("ray", port, (pid,), "/predict", headers), models[:1])


@contextlib.contextmanager
def _script(peer: str, folder: Path, models: Sequence[Model]) -> Iterator[tuple[int, int]]:
    """A peer that is a script of a folder of pickles and of a port: the port and the process."""
    python, port = environment(peer), free_port()
    pickles = folder / f"{peer}-models"
    pickles.mkdir()
    for model in models:
        (pickles / f"{model.name}.pkl").write_bytes(pickle.dumps(model.estimator))
    command = [str(python), str(_PEERS / f"{peer}_server.py"), str(pickles), str(port)]
    with running(command, port, log=folder / f"{peer}.log") as process:
        yield port, process.pid


@contextlib.contextmanager
def mlserver(folder: Path, models: Sequence[Model], *, at_startup: bool = True) -> Iterator[Contender]:
    """Inference in the server's process: in one of its own, the default, a request costs twice the CPU."""
    program = environment("mlserver").with_name("mlserver")
    home, port = folder / "mlserver", free_port()
    home.mkdir()
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    settings: dict[str, Any] = {"host": "127.0.0.1", "debug": False, "parallel_workers": 0, **ports}
    settings["load_models_at_startup"] = at_startup
    (home / "settings.json").write_text(json.dumps(settings))
    for model in models:
        of_model = home / model.name
        of_model.mkdir()
        (of_model / "model.pickle").write_bytes(pickle.dumps(model.estimator))
        described = {"name": model.name, "implementation": "mlserver_sklearn.SKLearnModel"}
        (of_model / "model-settings.json").write_text(json.dumps(described))
    with running([str(program), "start", str(home)], port, log=folder / "mlserver.log") as process:
        contender = Contender(
            *("mlserver", port, (process.pid,), "/v2/models/{}/infer"),
            encode=_as_tensor,
            before='"data":',
        )
        yield _serving(contender, models if at_startup else ())


CONTENDERS: dict[str, Start] = {
    "tenantry": tenantry,
    "mlserver": mlserver,
    "ray": ray,
    "fastapi": fastapi,
    "flask": flask,
}


def enter(
    stack: contextlib.ExitStack, start: Start, name: str, folder: Path, models: Sequence[Model]
) -> Contender | str:
    """The contender, running until `stack` ends; or why this peer cannot take part."""
    print(f"starting {name} with {len(models):,} models", file=sys.stderr, flush=True)
    try:
        return stack.enter_context(start(folder, models))
    except UnavailableError as error:
        return str(error)
    except StartError as error:
        if name == "tenantry":
            raise
        print(error, file=sys.stderr)
        return str(error).partition("\n")[0]


def _serving(contender: Contender, models: Sequence[Model], seconds: float = 300) -> Contender:
    """The contender once it answers for all models: some listen before they have loaded what they serve."""
    deadline = time.monotonic() + seconds
    body = contender.encode([dict.fromkeys(COLUMNS, 0.5)])
    with contender.client() as client:
        for model in models:
            path, headers = contender.target(model.name)
            while not client.post(path, headers=headers, json=body).is_success:
                if time.monotonic() > deadline:
                    raise StartError(f"{contender.name} does not serve {model.name} after {seconds:.0f} s")
                time.sleep(0.2)
    return contender
