"""The operator in a cluster: watches as the source, the API server as the sink."""
