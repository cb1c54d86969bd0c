"""The version of the one distribution that all parts are installed from."""

from __future__ import annotations

from importlib.metadata import version

VERSION = version("tenantry")
