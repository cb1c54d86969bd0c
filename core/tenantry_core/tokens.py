"""The tokens that routers and the operator show to predictors: a file that is read again as it changes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

LOOK_SECONDS = 2.0
PATIENCE_SECONDS = 300.0
"""For which a new token is not sent yet. The kubelet brings a changed Secret to a pod within two minutes."""

logger = logging.getLogger(__name__)


class TokenFileError(Exception):
    """The file cannot be read or holds no token. The message is a sentence for the user."""


class TokenFile:
    """One a line: all are accepted, the first is the one to send.

    While a token is new in the first line others may not know it, so the one before is still sent, as long
    as it is listed. A process that has just started cannot know what is new: it begins with the second line.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises TokenFileError."""
        self._path = path
        self._clock = clock
        self.accepted = _read(path)
        self.sent = self.accepted[:2][-1]
        self._first_since = clock()
        self._problem = ""

    async def follow(self, on_change: Callable[[], None] = lambda: None) -> None:
        """Keep both current until cancelled; `on_change` is called when another token is to be sent."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            before = self.sent
            self.look()
            if self.sent != before:
                logger.info("%s: another token is sent from now on", self._path)
                on_change()

    def look(self) -> None:
        """Read the file. While that fails, what it held stays in force."""
        try:
            accepted = _read(self._path)
            problem = ""
        except TokenFileError as error:
            accepted, problem = self.accepted, str(error)
        if problem and problem != self._problem:
            logger.warning("%s", problem)
        self._problem = problem
        if accepted[0] != self.accepted[0]:
            self._first_since = self._clock()
        self.accepted = accepted
        if self.sent not in accepted or self._clock() - self._first_since >= PATIENCE_SECONDS:
            self.sent = accepted[0]


def _read(path: Path) -> tuple[bytes, ...]:
    try:
        tokens = tuple(line.encode() for line in path.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        raise TokenFileError(f"--token-file {path}: {error}") from error
    if not tokens:
        raise TokenFileError(f"--token-file {path} holds no token: write one on its first line")
    return tokens
