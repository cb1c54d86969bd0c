"""Why an artifact cannot be served.

    LoadError                  reason: LoadFailed, or the one given
    ├── ArtifactNotFound       the store has no such object, or shows it to nobody
    ├── DigestMismatch         the bytes are not the ones that were pinned
    ├── OutsideAllowedStorage  the URI, or what it leads to, is not below an allowed prefix
    ├── FormatNotTrusted       the pool does not open this format
    ├── ProbeFailed            it loads, yet does not answer its own sample row
    └── StorageUnavailable     the store or the disk did not do its part: says nothing about the artifact

The reasons are those of a TenantModel's status.
"""

from __future__ import annotations

from typing import ClassVar


class LoadError(Exception):
    """`reason` is a CamelCase word of the status, `message` a sentence for the model's owner."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class _Reasoned(LoadError):
    reason_word: ClassVar[str]

    def __init__(self, message: str) -> None:
        super().__init__(self.reason_word, message)


class ArtifactNotFound(_Reasoned):
    reason_word = "ArtifactNotFound"


class DigestMismatch(_Reasoned):
    reason_word = "DigestMismatch"


class OutsideAllowedStorage(_Reasoned):
    reason_word = "OutsideAllowedStorage"


class FormatNotTrusted(_Reasoned):
    reason_word = "FormatNotTrusted"


class ProbeFailed(_Reasoned):
    reason_word = "ProbeFailed"


class StorageUnavailable(_Reasoned):
    reason_word = "StorageUnavailable"
