"""Commands as a user gives them, on a state directory of the test's own."""

from shell import state, tenantry

__all__ = ["state", "tenantry"]
