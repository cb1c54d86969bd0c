"""What a program without a server does for a model that it does not have: GET, deserialise, predict one row.

Reads a line of JSON for each model, `{"where": ..., "as": "onnx" or "pickle", "row": [...]}`, and writes one
with the seconds that it took and the prediction. Objects of S3 are read with one client.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import onnxruntime


def main() -> None:
    """Until there are no more lines."""
    store = boto3.client("s3") if "AWS_ENDPOINT_URL_S3" in os.environ else None
    for line in sys.stdin:
        asked = json.loads(line)
        row = np.array([asked["row"]])
        begun = time.perf_counter()
        answer = _predict(asked["as"], _get(store, asked["where"]), row)
        print(json.dumps([time.perf_counter() - begun, float(np.ravel(answer)[0])]), flush=True)


def _get(store: Any, where: str) -> bytes:
    if not where.startswith("s3://"):
        return Path(where).read_bytes()
    bucket, _, key = where.removeprefix("s3://").partition("/")
    content: bytes = store.get_object(Bucket=bucket, Key=key)["Body"].read()
    return content


def _predict(form: str, content: bytes, row: Any) -> Any:
    if form == "pickle":
        return pickle.loads(content).predict(row)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: row.astype(np.float32)})[0]


if __name__ == "__main__":
    main()
