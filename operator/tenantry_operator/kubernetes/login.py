"""The API server's credentials in the terms of kopf."""

from __future__ import annotations

import kopf

from tenantry_core.credentials import load_configuration


async def login(**_: object) -> kopf.ConnectionInfo:
    """kopf asks again whenever the API server refuses the token."""
    configuration = await load_configuration()
    header = await configuration.get_api_key_with_prefix("BearerToken") or ""
    # A pod's own credentials come as "bearer TOKEN", a kubeconfig's as "Bearer TOKEN".
    token = header.rpartition(" ")[2]
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        username=configuration.username or None,
        password=configuration.password or None,
        scheme="Bearer" if token else None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )
