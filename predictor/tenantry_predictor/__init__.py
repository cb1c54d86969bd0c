"""A plain inference server: a request names its model, version and artifact; it is loaded on demand."""

import os

# ONNX Runtime tells its makers about the models it loads, unless this is set before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Small models are computed by numpy, and a slot has one core: BLAS's threads would stand in each other's way.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
