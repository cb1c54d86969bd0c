"""`python -m fuzz TARGET [OPTIONS OF LIBFUZZER] [FOLDERS]`: coverage-guided, from the seeds of the corpus on.

make fuzz TARGET=tables SECONDS=600
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(
    include=["tenantry_core", "tenantry_predictor.tables", "tenantry_router.table"]
):
    from fuzz import targets


def main() -> None:
    name, *options = sys.argv[1:]
    corpus = str(targets.CORPUS / name)
    atheris.Setup([sys.argv[0], "-max_len=4096", *options, corpus], targets.TARGETS[name])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
