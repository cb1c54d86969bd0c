"""Events of a watch may come late, out of order or never; what counts is the newest version."""

from __future__ import annotations

from typing import Any

from tenantry_operator.kubernetes.watched import Key, Watched

ACME = ("default", "acme")


class World:
    """What the sink was told is there, by key."""

    def __init__(self) -> None:
        self.there: dict[Key, str] = {}
        self.watched = Watched("/models", self.put, self.drop)

    def drop(self, key: Key) -> None:
        del self.there[key]

    def put(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        self.there[metadata["namespace"], metadata["name"]] = metadata["uid"]


def acme(version: int, uid: str = "first") -> dict[str, Any]:
    metadata = {"namespace": "default", "name": "acme", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata}


def test_the_late_end_of_an_object_does_not_take_its_successor_away() -> None:
    world = World()
    world.watched.observe(acme(1))
    world.watched.observe(acme(4, uid="second"))
    world.watched.observe(acme(3), deleted=True)
    assert world.there == {ACME: "second"}


def test_a_deletion_is_told_once() -> None:
    world = World()
    world.watched.observe(acme(1))
    world.watched.observe(acme(2), deleted=True)
    world.watched.observe(acme(2), deleted=True)
    assert world.there == {}


def test_a_listing_tells_what_was_deleted_unseen() -> None:
    world = World()
    world.watched.observe(acme(1))
    assert world.watched.compare({}, at=5)
    assert world.there == {}


def test_a_listing_older_than_what_was_seen_takes_nothing_away() -> None:
    world = World()
    world.watched.observe(acme(7))
    assert world.watched.compare({}, at=5)
    assert world.there == {ACME: "first"}


def test_a_listing_tells_when_the_watch_is_behind() -> None:
    world = World()
    assert not world.watched.compare({ACME: 3}, at=3)
    world.watched.observe(acme(1))
    assert not world.watched.compare({ACME: 3}, at=3)
    world.watched.observe(acme(3))
    assert world.watched.compare({ACME: 3}, at=3)
