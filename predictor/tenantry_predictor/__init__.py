"""A plain inference server: a request names its model, version and artifact; it is loaded on demand."""
