"""A page of the documentation as steps: files to write and commands to run, with what they should print."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"

_FENCE = re.compile(r"```(\w*)\s*")
_MARK = re.compile(r"<!-- (file|not run|needs): (.+) -->")
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)")


@dataclass(frozen=True, slots=True)
class File:
    name: str
    content: str


@dataclass(frozen=True, slots=True)
class Command:
    text: str
    shown: tuple[str, ...]
    """The lines below it; none where the page shows no output."""
    line: int
    """In the page, from 1."""


Step = File | Command


def steps(page: str) -> list[Step]:
    """In the page's order. Raises ValueError for a mark that stands before no block."""
    return list(_steps((DOCS / page).read_text().split("\n")))


def _steps(lines: list[str]) -> Iterator[Step]:
    mark: tuple[str, str] | None = None
    number = 0
    while number < len(lines):
        fence = _FENCE.fullmatch(lines[number])
        if fence is None:
            found = _MARK.fullmatch(lines[number])
            if mark is not None and lines[number].strip():
                raise ValueError(f"line {number}: the mark {mark[0]!r} stands before no block")
            mark = (found[1], found[2]) if found else mark
            number += 1
            continue
        end = lines.index("```", number + 1)
        block = lines[number + 1 : end]
        if mark is not None and mark[0] == "file":
            yield File(mark[1], "\n".join(block) + "\n")
        elif fence[1] == "console" and (mark is None or _is_here(mark)):
            yield from _commands(block, number + 2)
        mark, number = None, end + 1


def _is_here(mark: tuple[str, str]) -> bool:
    """Whether the program that the commands need is; said aloud where it is not."""
    kind, program = mark
    if kind == "needs" and shutil.which(program) is None:
        warnings.warn(f"not run: commands that need {program}, which is not installed", stacklevel=2)
        return False
    return kind == "needs"


def _commands(block: list[str], first_line: int) -> Iterator[Command]:
    position = 0
    while position < len(block):
        begun = position
        if not block[begun].startswith("$ "):
            raise ValueError(f"line {first_line + begun}: output without a command")
        position = _end_of_command(block, begun)
        text = "\n".join([block[begun].removeprefix("$ "), *block[begun + 1 : position]])
        shown = position
        while position < len(block) and not block[position].startswith("$ "):
            position += 1
        yield Command(text, tuple(_stripped(block[shown:position])), first_line + begun)


def _end_of_command(block: list[str], begun: int) -> int:
    position = begun
    while block[position].endswith("\\"):
        position += 1
    document = _HERE_DOCUMENT.search(" ".join(block[begun : position + 1]))
    return (block.index(document[1], position) if document else position) + 1


def _stripped(lines: list[str]) -> list[str]:
    """Without empty lines at the end: they set the next command apart."""
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return lines
