"""The fixtures, for the tests of this folder."""

from cluster.fixtures import control_plane, control_plane_with_nodes, s3_server

__all__ = ["control_plane", "control_plane_with_nodes", "s3_server"]
