"""skops files: opened within the platform's list of types, and written with a word about the columns."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import Any

import msgspec
import skops.io
from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

from tenantry_predictor.runtimes.columns import columns_of
from tenantry_predictor.runtimes.conversion import shortened
from tenantry_predictor.runtimes.description import Description
from tenantry_predictor.runtimes.readers import BadArtifact
from tenantry_predictor.runtimes.skops_trust import TRUSTED, UntrustedType, check_content

__all__ = ["BadSkopsFile", "Description", "dump", "load"]

DESCRIPTION_MEMBER = "tenantry.json"
"""Beside skops' own members, which skops does not mind."""
MAX_BYTES = 512 << 20
"""All members together, unpacked."""
MAX_MEMBERS = 100_000
_CORRUPT = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ImportError,
)
"""What skops raises for archives that are damaged, or that another version of scikit-learn wrote."""


class BadSkopsFile(BadArtifact):
    """It is no skops file, or truncated, or too large when unpacked."""


def load(content: bytes) -> tuple[Any, Description]:
    """The estimator. Raises BadSkopsFile, UntrustedType, HostileContent, UnknownColumns.

    Call it for files of others only where a crash and a few seconds of one core do no harm.
    """
    description = _read_description(content)
    with _translated(content), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # another version of scikit-learn: the comparison will tell
        model = skops.io.loads(content, trusted=list(TRUSTED))
    if not hasattr(model, "predict"):
        raise BadSkopsFile(f"the file holds {type(model).__name__}, which has no predict")
    check_content(model)
    return model, description or Description.of(columns_of(model), None)


def dump(model: Any, description: Description) -> bytes:
    """The estimator as a skops file that predictors open; the same estimator gives the same bytes.

    Raises UntrustedType when predictors would not open it.
    """
    buffer = io.BytesIO()
    try:
        skops.io.dump(model, buffer)
    except UnsupportedTypeException as error:
        raise UntrustedType(str(error)) from error
    content = _reproducible(buffer, description)
    _refuse_untrusted(content)
    return content


def _reproducible(written: io.BytesIO, description: Description) -> bytes:
    """Number the objects and arrays, which skops names by their addresses in memory, and leave out times."""
    numbers: dict[str | int, int] = {}

    def renumbered(part: Any) -> Any:
        if isinstance(part, list):
            return [renumbered(item) for item in part]
        if not isinstance(part, dict):
            return part
        part = {key: renumbered(value) for key, value in part.items()}
        if isinstance(part.get("__id__"), int):
            part["__id__"] = numbers.setdefault(part["__id__"], len(numbers) + 1)
        if "__loader__" in part and isinstance(part.get("file"), str):
            part["file"] = renamed(part["file"])
        return part

    def renamed(file: str) -> str:
        return f"{numbers.setdefault(file, len(numbers) + 1)}{PurePath(file).suffix}"

    buffer = io.BytesIO()
    with zipfile.ZipFile(written) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        schema = renumbered(json.loads(old.read("schema.json")))
        files = {renamed(name): old.read(name) for name in old.namelist() if name != "schema.json"}
        files["schema.json"] = json.dumps(schema).encode()
        files[DESCRIPTION_MEMBER] = msgspec.json.encode(description)
        for name in sorted(files):
            new.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _read_description(content: bytes) -> Description | None:
    """Look at the archive's directory, before anything is unpacked."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS or sum(member.file_size for member in members) > MAX_BYTES:
                raise BadSkopsFile(
                    f"the file unpacks to more than {MAX_BYTES >> 20} MiB, or {MAX_MEMBERS} parts"
                )
            names = archive.namelist()
            if "schema.json" not in names:
                raise BadSkopsFile("the file is a zip archive, but no skops file: it has no schema.json")
            if DESCRIPTION_MEMBER not in names:
                return None
            return msgspec.json.decode(archive.read(DESCRIPTION_MEMBER), type=Description)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, NotImplementedError) as error:
        raise BadSkopsFile(f"the file is no skops file, or it is truncated: {error}") from error
    except msgspec.DecodeError as error:
        raise BadSkopsFile(f"the file's {DESCRIPTION_MEMBER} is not understood: {error}") from error


@contextmanager
def _translated(content: bytes) -> Iterator[None]:
    try:
        yield
    except UntrustedTypesFoundException as error:
        _refuse_untrusted(content)
        raise UntrustedType(str(error).split("\n", 1)[0]) from error
    except RecursionError as error:
        raise BadSkopsFile("the file is nested too deeply") from error
    except _CORRUPT as error:
        raise BadSkopsFile(f"the file is corrupt: {type(error).__name__}: {shortened(error)}") from error


def _refuse_untrusted(content: bytes) -> None:
    found = [name for name in skops.io.get_untrusted_types(data=content) if name not in TRUSTED]
    if found:
        raise UntrustedType(f"it holds {', '.join(found[:5])}, which predictors do not build from a file")
