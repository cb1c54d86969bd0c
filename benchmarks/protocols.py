"""JSON, binary tensors and gRPC: the same model, asked the same, through a router and one slot.

    python benchmarks/protocols.py [--seconds 5] [--rounds 3] [--connections 16] [--out protocols.json]

A linear model over 20 columns, asked for 1 row and for 1,000 rows a request. Rounds alternate between forms.
The client of HTTP is wrk, that of gRPC a process of Python, which needs more of the machine than the servers:
compare the CPU time of router and slot a request; requests/s by gRPC are the client's. Needs wrk.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from contenders import tenantry
from models import Model, published
from processes import free_port, require
from tenantry_core.oip.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from wrk import Round, Server, measure, median, run, table, write_file_script

COLUMNS = 20
MODEL = "tenant-0"
METHOD = "/inference.GRPCInferenceService/ModelInfer"
TARGET = f"/v2/models/{MODEL}/infer"
FORMS = ("json", "binary", "grpc")
ROWS = (1, 1000)


def main() -> None:
    """Start, check, measure, print, write the figures."""
    arguments = _arguments()
    if arguments.client is not None:
        address, body = arguments.client
        print(asyncio.run(ask(address, Path(body).read_bytes(), arguments.seconds, arguments.connections)))
        return
    require("wrk")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder, grpc_port = Path(name), free_port()
        with tenantry(folder, [train()], "--grpc-port", str(grpc_port)) as contender:
            server = Server("tenantry", contender.port, contender.pids)
            for rows in ROWS:
                forms = prepare(folder, rows, server, f"127.0.0.1:{grpc_port}", arguments)
                rounds: dict[str, list[Round]] = {form: [] for form in FORMS}
                for _ in range(arguments.rounds):
                    for form in FORMS:
                        rounds[form].append(forms[form]())
                print(f"\n{rows} rows x {COLUMNS} columns, {arguments.connections} connections")
                print(table(rounds, beside="json"))
                figures[str(rows)] = {form: asdict(median(each)) for form, each in rounds.items()}
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=5, help="of each round (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="per form (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=16, help="of the client (default: %(default)s)")
    parser.add_argument("--out", type=Path, help="write all figures to this file, as JSON")
    parser.add_argument("--client", nargs=2, metavar=("ADDRESS", "BODY"), help=argparse.SUPPRESS)
    return parser.parse_args()


def train() -> Model:
    generator = np.random.default_rng(7)
    rows = pd.DataFrame(generator.random((200, COLUMNS)), columns=[f"c{n}" for n in range(COLUMNS)])
    estimator = make_pipeline(StandardScaler(), LinearRegression()).fit(rows, generator.random(200))
    return Model(MODEL, estimator, published(estimator))


def prepare(folder: Path, rows: int, server: Server, grpc_address: str, arguments: argparse.Namespace) -> Any:
    """A round of each form, once all three have given the same answer."""
    values = np.random.default_rng(11).random((rows, COLUMNS), np.float32)
    bodies = {form: folder / f"{form}-{rows}" for form in FORMS}
    described = {"name": "input", "shape": [rows, COLUMNS], "datatype": "FP32"}
    bodies["json"].write_text(json.dumps({"inputs": [described | {"data": values.reshape(-1).tolist()}]}))
    asked = described | {"parameters": {"binary_data_size": values.nbytes}}
    text = json.dumps({"inputs": [asked], "parameters": {"binary_data_output": True}}).encode()
    bodies["binary"].write_bytes(text + values.tobytes())
    message = ModelInferRequest(model_name=MODEL, raw_input_contents=[values.tobytes()])
    message.inputs.add(**described)
    bodies["grpc"].write_bytes(message.SerializeToString())
    headers = {
        "json": {"Content-Type": "application/json"},
        "binary": {
            "Content-Type": "application/octet-stream",
            "Inference-Header-Content-Length": str(len(text)),
        },
    }
    check(server, grpc_address, bodies, headers)
    for form in ("json", "binary"):
        write_file_script(folder / f"{form}.lua", target=TARGET, body=bodies[form], headers=headers[form])

    def by_http(form: str) -> Round:
        script = folder / f"{form}.lua"
        return measure(server, script, seconds=arguments.seconds, connections=arguments.connections)

    def by_grpc() -> Round:
        command = [sys.executable, __file__, "--client", grpc_address, str(bodies["grpc"])]
        command += ["--seconds", str(arguments.seconds), "--connections", str(arguments.connections)]
        return run(command, server)

    return {"json": lambda: by_http("json"), "binary": lambda: by_http("binary"), "grpc": by_grpc}


def check(
    server: Server, grpc_address: str, bodies: dict[str, Path], headers: dict[str, dict[str, str]]
) -> None:
    """Ask in each form once, which also makes the model warm."""
    answers = []
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=30) as client:
        plain = client.post(TARGET, content=bodies["json"].read_bytes(), headers=headers["json"])
        answers.append(np.array(plain.json()["outputs"][0]["data"], np.float32))
        binary = client.post(TARGET, content=bodies["binary"].read_bytes(), headers=headers["binary"])
        length = int(binary.headers["inference-header-content-length"])
        answers.append(np.frombuffer(binary.content[length:], np.float32))
    with grpc.insecure_channel(grpc_address) as channel:
        answer = ModelInferResponse.FromString(channel.unary_unary(METHOD)(bodies["grpc"].read_bytes()))
        answers.append(np.frombuffer(answer.raw_output_contents[0], np.float32))
    if not all(np.array_equal(answers[0], other) for other in answers[1:]):
        sys.exit(f"the forms are answered differently: {answers}")


async def ask(address: str, body: bytes, seconds: float, connections: int) -> str:
    """Calls one after another over each of so many connections; figures as wrk's script prints them."""
    latencies: list[float] = []
    errors = 0
    end = time.perf_counter() + seconds

    async def keep_asking() -> None:
        nonlocal errors
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(address, options=options) as channel:
            call = channel.unary_unary(METHOD)
            while (begun := time.perf_counter()) < end:
                try:
                    await call(body)
                except grpc.aio.AioRpcError:
                    errors += 1
                latencies.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(keep_asking() for _ in range(connections)))
    percentiles = statistics.quantiles(latencies, n=100)
    figures = {
        "requests": len(latencies),
        "microseconds": (time.perf_counter() - begun) * 1e6,
        "p50": percentiles[49] * 1e6,
        "p99": percentiles[98] * 1e6,
        "errors": errors,
    }
    return f"RESULT{json.dumps(figures)}"


if __name__ == "__main__":
    main()
