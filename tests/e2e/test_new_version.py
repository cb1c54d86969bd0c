"""New versions of models while all are asked."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from e2e.conftest import Note
from e2e.flights import Tenant, answer_of
from e2e.installation import Installation, Object
from e2e.rest import is_ready
from e2e.traffic import Traffic, Window, part_of
from integration.waiting import wait_for

CHANGED = 10


def test_new_versions_under_load_fail_no_request_and_load_nothing_cold(
    installation: Installation, note: Note
) -> None:
    changed = installation.tenants[: 2 * CHANGED]
    manifests = [retrained(installation, tenant) for tenant in changed]
    with installation.traffic() as traffic:
        before = traffic.go_on(15)
        singly = changing(installation, traffic, [[manifest] for manifest in manifests[:CHANGED]])
        at_once = changing(installation, traffic, [manifests[CHANGED:]])
        after = traffic.go_on(5)
    note(f"before: {before.summary()}")
    for how, during in (("one after the other", singly), ("at once", at_once)):
        ratio = during.p99 / before.p99
        note(f"{CHANGED} new versions, {how}: {during.summary()}; p99 {ratio:.2f} of before")
    for window in (before, singly, at_once, after):
        assert window.failures == []
        assert window.cold == []
    answered = {installation.tenants[a.number % len(installation.tenants)].name: a for a in after.answers}
    for manifest in manifests:
        route = answered[manifest["metadata"]["name"]].route
        assert digest(manifest).startswith(part_of(route, "version"))


def retrained(installation: Installation, tenant: Tenant) -> Object:
    """The manifest of another version, which is published and not applied yet."""
    version = tenant.retrained()
    tenant.answers.append(answer_of(version))
    return installation.publish(version)


def changing(installation: Installation, traffic: Traffic, steps: Sequence[Sequence[Object]]) -> Window:
    """What is answered while manifests are applied, each step once the one before serves, and 3 s more."""
    since = traffic.now
    for manifests in steps:
        for manifest in manifests:
            installation.change(manifest)
        wait_for(partial(serve, installation, manifests), 120, "new versions serve", interval=1.0)
    traffic.go_on(3)
    return traffic.window(since)


def serve(installation: Installation, manifests: Sequence[Object]) -> bool:
    models = installation.models()
    wanted = {manifest["metadata"]["name"]: digest(manifest) for manifest in manifests}
    return all(
        models[name]["status"]["active"]["sha256"] == sha256 and is_ready(models[name])
        for name, sha256 in wanted.items()
    )


def digest(manifest: Object) -> str:
    return str(manifest["spec"]["artifact"]["sha256"])
