"""The one error of publishing."""

from __future__ import annotations


class PublishError(Exception):
    """The model cannot be published; the message is a sentence that says what to do."""
