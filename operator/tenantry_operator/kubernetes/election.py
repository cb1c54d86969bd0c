"""One of several operators leads: it holds a Lease and renews it; the others wait warm."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import Any

from tenantry_operator.kubernetes.api import Api, Refused, Unreachable

LEASE = "tenantry-operator"
DURATION = 15
"""Seconds after its last renewal that others may take the Lease."""
RENEW_DEADLINE = 8.0
"""Seconds without a renewal after which the leader gives up. With one more retry it has stopped before
anybody else may start."""
RETRY_INTERVAL = 2.0
_CALL_TIMEOUT = 4.0

logger = logging.getLogger(__name__)


class Election:
    """client-go's rules: only one's own clock is trusted, and a Lease is taken when it has not changed for
    as long as it lasts.
    """

    def __init__(self, api: Api, namespace: str, identity: str) -> None:
        self._api = api
        self._collection = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._namespace = namespace
        self._identity = identity
        self._observed = ""
        self._observed_at = 0.0

    async def acquire(self) -> None:
        """Returns once this one leads."""
        logger.info("waiting to lead")
        while True:
            if await self._try():
                break
            await asyncio.sleep(RETRY_INTERVAL)
        logger.info("leading")

    async def hold(self) -> None:
        """Returns when the Lease is lost: whoever led must stop writing at once."""
        renewed = time.monotonic()
        while time.monotonic() - renewed < RENEW_DEADLINE:
            await asyncio.sleep(RETRY_INTERVAL)
            began = time.monotonic()
            if await self._try():
                renewed = began
        logger.error("the lease could not be renewed for %.0f s", RENEW_DEADLINE)

    async def release(self) -> None:
        """Lets the next one lead at once. Nothing is lost when it fails: the Lease runs out."""
        with contextlib.suppress(Refused, Unreachable, TimeoutError):
            async with asyncio.timeout(_CALL_TIMEOUT):
                while not await self._give_up():
                    continue  # a renewal that was cancelled on its way has come between

    async def _give_up(self) -> bool:
        """Whether the Lease is not held any more; False where somebody wrote it meanwhile."""
        lease = await self._api.get(f"{self._collection}/{LEASE}")
        if lease["spec"].get("holderIdentity") != self._identity:
            return True
        lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            await self._api.replace(f"{self._collection}/{LEASE}", lease)
        except Refused as error:
            if error.status != 409:
                raise
            return False
        logger.info("the lease is given up")
        return True

    async def _try(self) -> bool:
        """Whether this one holds the Lease now."""
        try:
            async with asyncio.timeout(_CALL_TIMEOUT):
                return await self._acquire_or_renew()
        except (Refused, Unreachable, TimeoutError) as error:
            logger.warning("the lease could not be written: %s", error or "no answer in time")
            return False

    async def _acquire_or_renew(self) -> bool:
        try:
            lease = await self._api.get(f"{self._collection}/{LEASE}")
        except Refused as error:
            if error.status != 404:
                raise
            await self._api.create(self._collection, self._manifest())
            return True
        if self._is_held_by_another(lease):
            return False
        lease["spec"] = self._spec(lease["spec"])
        # The resourceVersion that was read is in it: of two that try, one is refused.
        await self._api.replace(f"{self._collection}/{LEASE}", lease)
        return True

    def _is_held_by_another(self, lease: dict[str, Any]) -> bool:
        version = lease["metadata"]["resourceVersion"]
        if version != self._observed:
            self._observed, self._observed_at = version, time.monotonic()
        holder = lease["spec"].get("holderIdentity")
        lasts = lease["spec"].get("leaseDurationSeconds", DURATION)
        return holder not in (None, "", self._identity) and time.monotonic() - self._observed_at < lasts

    def _manifest(self) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": LEASE, "namespace": self._namespace},
            "spec": self._spec({}),
        }

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION,
            "renewTime": now,
        }
        if before.get("holderIdentity") != self._identity:
            spec["acquireTime"] = now
            spec["leaseTransitions"] = before.get("leaseTransitions", 0) + (1 if before else 0)
        return spec
