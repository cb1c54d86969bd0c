"""Which tokens of a file are accepted, and which one is sent, while it changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenantry_core.tokens import PATIENCE_SECONDS, TokenFile, TokenFileError


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "token"


def opened(path: Path, clock: Clock, *lines: str) -> TokenFile:
    path.write_text("\n".join(lines) + "\n")
    return TokenFile(path, clock)


def rewritten(tokens: TokenFile, path: Path, *lines: str) -> bytes:
    path.write_text("\n".join(lines) + "\n")
    tokens.look()
    return tokens.sent


def test_a_new_token_is_accepted_at_once_and_sent_later(path: Path, clock: Clock) -> None:
    tokens = opened(path, clock, "old")
    assert rewritten(tokens, path, "new", "old") == b"old"
    assert tokens.accepted == (b"new", b"old")
    clock.now += PATIENCE_SECONDS - 1
    tokens.look()
    assert tokens.sent == b"old"
    clock.now += 1
    tokens.look()
    assert tokens.sent == b"new"
    assert rewritten(tokens, path, "new") == b"new"
    assert b"old" not in tokens.accepted


def test_a_token_that_is_struck_off_is_not_sent_any_more(path: Path, clock: Clock) -> None:
    tokens = opened(path, clock, "old")
    assert rewritten(tokens, path, "new") == b"new"


def test_who_starts_during_a_rotation_sends_what_everybody_knows(path: Path, clock: Clock) -> None:
    tokens = opened(path, clock, "new", "old")
    assert tokens.sent == b"old"
    clock.now += PATIENCE_SECONDS
    tokens.look()
    assert tokens.sent == b"new"


def test_two_rotations_in_a_row(path: Path, clock: Clock) -> None:
    tokens = opened(path, clock, "a")
    clock.now += 10 * PATIENCE_SECONDS
    assert rewritten(tokens, path, "b", "a") == b"a"
    clock.now += PATIENCE_SECONDS / 2
    assert rewritten(tokens, path, "c", "b", "a") == b"a"
    clock.now += PATIENCE_SECONDS / 2
    tokens.look()
    assert tokens.sent == b"a", "c is younger than that"


@pytest.mark.parametrize("content", [b"", b"\n \n", "Schlüssel".encode(), None])
def test_a_file_that_cannot_be_used_is_refused_at_first_and_ignored_later(
    path: Path, clock: Clock, content: bytes | None
) -> None:
    tokens = opened(path, clock, "old")
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    tokens.look()
    assert (tokens.sent, tokens.accepted) == (b"old", (b"old",))
    with pytest.raises(TokenFileError, match=str(path)):
        TokenFile(path, clock)
