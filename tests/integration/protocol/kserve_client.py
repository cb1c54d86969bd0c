"""What KServe's SDK is asked to do, in its own virtual environment: `python kserve_client.py URL GRPC`."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig
from kserve.protocol.infer_type import RequestedOutput


def request(*, binary: bool, binary_output: bool = False) -> Any:
    inputs = []
    for name, values in (("a", [1, 2]), ("b", [10, 20])):
        inputs.append(InferInput(name, [2, 1], "FP32"))
        inputs[-1].set_data_from_numpy(np.array(values, np.float32).reshape(2, 1), binary_data=binary)
    outputs = [RequestedOutput("sum", {"binary_data": True}), RequestedOutput("both", {"binary_data": True})]
    return InferRequest("pair", inputs, request_id="r-1", request_outputs=outputs if binary_output else None)


def read(answer: Any) -> dict[str, Any]:
    outputs = {output.name: output.as_numpy().tolist() for output in answer.outputs}
    return outputs | {"id": answer.id}


async def main(url: str, grpc: str) -> dict[str, Any]:
    rest = InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=30))
    told: dict[str, Any] = {
        "rest": {
            "live": await rest.is_server_live(url),
            "ready": await rest.is_server_ready(url),
            "model ready": await rest.is_model_ready(url, "pair"),
        },
        "rest json": read(await rest.infer(url, request(binary=False), "pair")),
        "rest binary": read(await rest.infer(url, request(binary=True), "pair")),
        "rest binary output": read(await rest.infer(url, request(binary=True, binary_output=True), "pair")),
    }
    try:
        await rest.infer(url, request(binary=False), "nobody")
    except httpx.HTTPStatusError as error:
        told["error"] = error.response.json()["error"]
    async with InferenceGRPCClient(grpc, timeout=30) as client:
        told["grpc"] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model ready": await client.is_model_ready("pair"),
        }
        told["grpc raw"] = read(await client.infer(request(binary=True)))
        told["grpc typed"] = read(await client.infer(request(binary=False)))
    return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
