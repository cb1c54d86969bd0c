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


class ModelRepository(Protocol):
    """A store of artifacts. Both calls block, so they run in a thread.

    They raise ArtifactNotFound, OutsideAllowedStorage or StorageUnavailable.
    """

    def fetch(self, source: Source, write: Write) -> str:
        """Stream the bytes; returns the store's tag of exactly this content (an ETag)."""
        ...

    def tag(self, source: Source) -> str:
        """The tag of the content that is there now."""
        ...
