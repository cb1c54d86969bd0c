"""What `pip install 'tenantry[client]'` has to bring."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires

from packaging.requirements import Requirement

PROGRAM = """
import sys
import numpy, pandas, httpx, msgspec
before = {name.partition(".")[0] for name in sys.modules}
import tenantry
tenantry.Client("http://127.0.0.1:9")
tenantry.AsyncClient("http://127.0.0.1:9")
import tenantry.client.tensors
print(*sorted({name.partition(".")[0] for name in sys.modules} - before - set(sys.stdlib_module_names)))
"""


def test_a_client_imports_httpx_and_pandas_and_no_other_part_of_tenantry() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    base = {"tenantry", "tenantry_core"}
    allowed = base | {"anyio", "certifi", "h11", "httpcore", "idna", "sniffio"}  # httpx brings these
    assert base <= set(ended.stdout.split()) <= allowed


def test_the_extra_names_them() -> None:
    wanted = {
        requirement.name
        for requirement in map(Requirement, requires("tenantry") or ())
        if requirement.marker is not None and requirement.marker.evaluate({"extra": "client"})
    }
    assert wanted == {"httpx", "pandas"}


def test_publishing_is_there_without_importing_it() -> None:
    program = "import sys, tenantry; tenantry.PublishError; print('sklearn' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"
