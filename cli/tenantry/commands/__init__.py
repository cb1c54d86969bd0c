"""One file a command; `tenantry.app` puts them together."""
