"""What this predictor agrees to open, whoever asks: allowed storage and trusted formats."""

from __future__ import annotations

from collections.abc import Sequence

from tenantry_core.artifacts import CODE_FORMATS, SAFE_FORMATS, ArtifactRefused, check_uri
from tenantry_predictor.errors import FormatNotTrusted, OutsideAllowedStorage
from tenantry_predictor.repositories.base import Source


class Policy:
    """The pool's `storage.prefixes` and `trust.formats`; no formats: those that carry no code."""

    def __init__(self, prefixes: Sequence[str] = (), formats: Sequence[str] = ()) -> None:
        self.prefixes = tuple(prefixes)
        self._formats = frozenset(formats or SAFE_FORMATS)

    def check(self, source: Source) -> None:
        """Raises OutsideAllowedStorage or FormatNotTrusted."""
        try:
            check_uri(source.uri, self.prefixes, namespace=source.namespace, tenant=source.tenant)
        except ArtifactRefused as error:
            raise OutsideAllowedStorage(f"{error}.") from error
        if source.format in CODE_FORMATS:
            raise FormatNotTrusted(
                f"Opening {source.format} runs code of its author, so predictors never do;"
                " `tenantry publish` converts it."
            )
        if source.format not in self._formats:
            trusted = ", ".join(sorted(self._formats))
            raise FormatNotTrusted(f"This pool does not trust the format {source.format!r}, only {trusted}.")
