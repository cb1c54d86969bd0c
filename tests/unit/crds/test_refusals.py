"""Each file of crds/invalid is refused without an API server, at the field and with the words it states."""

from __future__ import annotations

import pytest

from refusals import Refusal, refusals
from tenantry_operator.validation import InvalidManifest, admit


@pytest.mark.parametrize("refusal", refusals(), ids=lambda refusal: refusal.name)
def test_refuses_locally(refusal: Refusal) -> None:
    *accepted, refused = refusal.manifests
    old = None
    for manifest in accepted:
        old = admit(manifest, old)
    with pytest.raises(InvalidManifest) as caught:
        admit(refused, old)
    assert refusal.path in [error.path for error in caught.value.errors]
    [message] = [error.message for error in caught.value.errors if error.path == refusal.path]
    assert message.endswith(refusal.sentence)
