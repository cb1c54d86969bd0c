"""The CustomResourceDefinitions as values: to validate, list and print resources without a server."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from tenantry_core.crds import crd_files
from tenantry_core.resources import API_VERSION

Schema = dict[str, Any]


class UnknownKind(ValueError):
    """The manifest is of no kind that is defined here; the message lists those that are."""


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind: its names, its schema and the columns that `get` prints."""

    kind: str
    plural: str
    singular: str
    short_names: tuple[str, ...]
    namespaced: bool
    schema: Schema
    columns: tuple[dict[str, Any], ...]

    def answers_to(self, name: str) -> bool:
        """Whether a person means this kind by `name`, in any case: TenantModel, tenantmodels, tm."""
        return name.lower() in {self.kind.lower(), self.plural, self.singular, *self.short_names}


@cache
def definitions() -> dict[str, Definition]:
    """Every kind, by its name."""
    found = (_definition(yaml.safe_load(path.read_text())["spec"]) for path in crd_files())
    return {definition.kind: definition for definition in found}


def definition_of(manifest: dict[str, Any]) -> Definition:
    """The definition of a manifest's kind. Raises UnknownKind."""
    api_version, kind = manifest.get("apiVersion"), manifest.get("kind")
    if not api_version:
        raise UnknownKind(f"a manifest has no apiVersion: write apiVersion: {API_VERSION}")
    if not kind:
        raise UnknownKind(f"a manifest has no kind: write one of {', '.join(definitions())}")
    if api_version != API_VERSION or kind not in definitions():
        raise UnknownKind(
            f'no matches for kind "{kind}" in version "{api_version}": '
            f"{API_VERSION} has {', '.join(definitions())}"
        )
    return definitions()[str(kind)]


def _definition(spec: dict[str, Any]) -> Definition:
    names, [version] = spec["names"], spec["versions"]
    return Definition(
        kind=names["kind"],
        plural=names["plural"],
        singular=names["singular"],
        short_names=tuple(names["shortNames"]),
        namespaced=spec["scope"] == "Namespaced",
        schema=version["schema"]["openAPIV3Schema"],
        columns=tuple(version["additionalPrinterColumns"]),
    )
