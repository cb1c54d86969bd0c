"""How to reach the API server: the pod's service account, else the kubeconfig."""

from __future__ import annotations

from kubernetes.aio import config
from kubernetes.aio.client import Configuration


class NoCredentials(Exception):
    """Neither a service account nor a kubeconfig tells where the API server is."""


async def load_configuration() -> Configuration:
    """A fresh configuration; the service account's token in it is read again as it rotates.

    Raises NoCredentials.
    """
    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        try:
            await config.load_kube_config(client_configuration=configuration)
        except (config.ConfigException, OSError) as error:
            raise NoCredentials(
                "there is no service account here and no kubeconfig: run in a cluster, or set KUBECONFIG"
            ) from error
    # Proxies of the environment are for the outside, not for the API server.
    configuration.client_session_kwargs = {"trust_env": False}
    return configuration
