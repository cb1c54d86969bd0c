"""The router as its image has it: with the image's own Python and packages, by chroot, so only as root."""

from __future__ import annotations

import json
import tarfile
from contextlib import AbstractContextManager
from pathlib import Path

from processes import free_port
from proxies import one_process
from wrk import Server


def unpack(archive: Path, root: Path) -> None:
    """Lay the layers of an image, one above the other, into the folder `root`.

    `archive` is what `docker save` writes, or tests/cluster/images.py.
    """
    with tarfile.open(archive) as image:
        manifest = image.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=image.extractfile(name)) as layer:
                members = [member for member in layer if not member.isdev()]
                layer.extractall(root, members, filter="fully_trusted")


def router(root: Path, snapshot: Path) -> AbstractContextManager[Server]:
    """The router of the image below `root`; the folder `snapshot` is below it, too."""
    port = free_port()
    program = ["chroot", str(root), "/opt/tenantry/bin/python", "-m", "tenantry_router"]
    options = ["--snapshot", f"/{snapshot.relative_to(root)}", "--port", str(port), "--log-level", "warning"]
    return one_process("image", [*program, *options], port)
