"""Manifests from files, folders and standard input, as `-f` names them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tenantry.errors import CommandError
from tenantry.target import Manifest

_SUFFIXES = (".json", ".yaml", ".yml")


class _Loader(yaml.SafeLoader):
    """Dates stay text, as they do in JSON: an annotation may well look like one."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class Document:
    """One manifest, or why there is none."""

    source: str
    content: Manifest | CommandError


def read(names: list[str]) -> Iterator[Document]:
    """Every document of every file; of a folder the files that end in .yaml, .yml or .json.

    Raises CommandError for a path that is not there.
    """
    for name in names:
        if name == "-":
            yield from _documents("STDIN", sys.stdin.read())
            continue
        for path in _files(Path(name)):
            try:
                text = path.read_text()
            except (OSError, UnicodeDecodeError) as error:
                yield Document(str(path), CommandError(f"{path} cannot be read: {error}"))
                continue
            yield from _documents(str(path), text)


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in _SUFFIXES and file.is_file())
        if not files:
            raise CommandError(f"{path} holds no file that ends in {', '.join(_SUFFIXES)}")
        return files
    if not path.exists():
        raise CommandError(f'the path "{path}" does not exist')
    return [path]


def _documents(source: str, text: str) -> Iterator[Document]:
    try:
        # One document at a time: those before a mistake count.
        for content in yaml.load_all(text, Loader=_Loader):
            if content is not None:
                yield from (Document(source, item) for item in _items(source, content))
    except yaml.YAMLError as error:
        yield Document(source, CommandError(f"error parsing {source}: {error}"))


def _items(source: str, content: Any) -> Iterator[Manifest | CommandError]:
    if not isinstance(content, dict):
        yield CommandError(f"{source} holds something that is no manifest: {str(content)[:40]!r}")
    elif content.get("kind") == "List" and isinstance(content.get("items"), list):
        for item in content["items"]:
            yield from _items(source, item)
    else:
        yield content
