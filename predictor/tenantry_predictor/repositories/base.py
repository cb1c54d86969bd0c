"""What a store is, and how an artifact is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from tenantry_core.names import split_model_key


class Key(NamedTuple):
    """What a loaded model is kept under. A digest alone would give one tenant another's model."""

    tenant: str
    sha256: str
    format: str
    """The same bytes opened as another format are another model."""


@dataclass(frozen=True, slots=True)
class Source:
    """A reference with the model and the tenant that it is asked for."""

    model: str
    """The key, `namespace.name`."""
    tenant: str
    uri: str
    """`{user_id}` is put in already."""
    format: str
    sha256: str = ""
    """64 hex digits; empty where the bytes are not pinned."""
    namespace: str = field(init=False, compare=False)
    key: Key | None = field(init=False, compare=False)
    """None while the digest is not known."""
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "namespace", split_model_key(self.model)[0])
        key = Key(self.tenant, self.sha256, self.format) if self.sha256 else None
        object.__setattr__(self, "key", key)
        named = (self.model, self.tenant, self.uri, self.format, self.sha256)
        object.__setattr__(self, "_hash", hash(named))

    def __hash__(self) -> int:
        """Sources are looked up at each request: computed once, it saves a microsecond each time."""
        return self._hash


Write = Callable[[bytes], object]
"""Takes the next bytes of an artifact; what it raises ends the fetch."""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What a pool says of its stores. Others than S3 take what else they need from their environment."""

    prefixes: tuple[str, ...] = ()
    """`storage.prefixes` as the pool states them; a URI is checked by them before it comes here."""
    s3_endpoint: str = ""
    s3_region: str = ""


class ModelRepository(Protocol):
    """A store of artifacts. Both calls block, so they run in threads, many at a time.

    They raise ArtifactNotFound, OutsideAllowedStorage, or StorageUnavailable (as which any OSError counts).
    Neither waits long for the next bytes: a store that does not answer is StorageUnavailable in seconds.
    """

    def fetch(self, source: Source, write: Write) -> str:
        """Write all bytes, those at hand at once; returns the store's tag of exactly this content (an ETag).

        `fetching.fetch_in_parts` does it for a store whose connections may break.
        """
        ...

    def tag(self, source: Source) -> str:
        """The tag of the content that is there now."""
        ...
