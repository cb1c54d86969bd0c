"""Real parts for every test below, started once: an API server, one with fake nodes, an S3 server."""

from cluster.fixtures import control_plane, control_plane_with_nodes, s3_server

__all__ = ["control_plane", "control_plane_with_nodes", "s3_server"]
