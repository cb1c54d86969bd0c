"""What lies on disk and is opened without the checks of a stranger's file: with a digest of its own.

The digest is over the content and what it is of, so that a file in another place is none.
"""

from __future__ import annotations

import hashlib

_DIGEST_BYTES = 32


def seal(of: str, content: bytes) -> bytes:
    """The bytes of a file that holds `content`."""
    return _digest(of, content) + content


def unseal(of: str, file: bytes) -> bytes | None:
    """The content; None where the file is damaged, or of something else."""
    digest, content = file[:_DIGEST_BYTES], file[_DIGEST_BYTES:]
    return content if digest == _digest(of, content) else None


def _digest(of: str, content: bytes) -> bytes:
    digest = hashlib.sha256(f"{of}\n".encode())
    digest.update(content)
    return digest.digest()
