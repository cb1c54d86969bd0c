"""Real parts for every test below, started once: an API server, one with fake nodes, an S3 server."""

import os

from hypothesis import HealthCheck, settings

from cluster.fixtures import control_plane, control_plane_with_nodes, s3_server

__all__ = ["control_plane", "control_plane_with_nodes", "s3_server"]

# A busy machine makes an example slow, which says nothing about the code. Whoever is at work here gets new
# examples with every run; a check of somebody's change the same ones each time.
settings.register_profile(
    "tenantry",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="CI" in os.environ,
)
settings.load_profile("tenantry")
