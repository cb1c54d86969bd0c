"""What protoc makes of the protocol's files: written by `make protocol`, compared by `--check`."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from grpc_tools import protoc

_FOLDER = Path(__file__).resolve().parents[1] / "core/tenantry_core/oip"
# Clients register messages of the same names in protobuf's default pool: two of a name in one process (a
# custom model that asks another server, a test) would not import. A pool of our own keeps out of their way.
_DEFAULT_POOL = "_descriptor_pool.Default()"
_OWN_POOL = "_descriptor_pool.DescriptorPool()"


def expected() -> dict[Path, str]:
    """Contents by file."""
    with tempfile.TemporaryDirectory() as name:
        sources = sorted(path.name for path in _FOLDER.glob("*.proto"))
        command = ["protoc", f"-I{_FOLDER}", f"--python_out={name}", f"--pyi_out={name}", *sources]
        if protoc.main(command) != 0:
            sys.exit("protoc failed")
        return {
            _FOLDER / made.name: made.read_text().replace(_DEFAULT_POOL, _OWN_POOL)
            for made in sorted(Path(name).iterdir())
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    checking = parser.parse_args().check
    for path, text in expected().items():
        if path.is_file() and path.read_text() == text:
            continue
        if checking:
            sys.exit(f"{path} is out of date: make protocol")
        path.write_text(text)


if __name__ == "__main__":
    main()
