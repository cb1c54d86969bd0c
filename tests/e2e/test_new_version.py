"""New versions of models while all are asked."""

from __future__ import annotations

from e2e.conftest import Note
from e2e.flights import answer_of
from e2e.installation import Installation
from e2e.rest import is_ready
from e2e.traffic import part_of
from integration.waiting import wait_for

CHANGED = 10


def test_a_new_version_under_load_fails_no_request_and_loads_nothing_cold(
    installation: Installation, note: Note
) -> None:
    changed = installation.tenants[:CHANGED]
    versions = [tenant.retrained() for tenant in changed]
    manifests = [installation.publish(version) for version in versions]
    digests = {m["metadata"]["name"]: m["spec"]["artifact"]["sha256"] for m in manifests}
    for tenant, version in zip(changed, versions, strict=True):
        tenant.answers.append(answer_of(version))
    with installation.traffic() as traffic:
        before = traffic.go_on(15)
        since = traffic.now
        for manifest in manifests:
            installation.change(manifest)
        wait_for(lambda: serve(installation, digests), 120, "every new version is what serves", interval=1.0)
        traffic.go_on(3)
        during = traffic.window(since)
        after = traffic.go_on(5)
    note(f"before: {before.summary()}")
    note(f"{CHANGED} new versions: {during.summary()}; p99 {during.p99 / before.p99:.2f} of before")
    assert before.failures == during.failures == after.failures == []
    assert during.cold == after.cold == []
    answered = {installation.tenants[a.number % len(installation.tenants)].name: a for a in after.answers}
    for name, digest in digests.items():
        assert digest.startswith(part_of(answered[name].route, "version"))


def serve(installation: Installation, digests: dict[str, str]) -> bool:
    models = installation.models()
    return all(
        models[name]["status"]["active"]["sha256"] == digest and is_ready(models[name])
        for name, digest in digests.items()
    )
