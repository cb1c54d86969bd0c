"""Errors that end a command. `main.run` prints them in kubectl's form and exits with 1.

CommandError        error: <what to do>
+-- ServerError     Error from server (NotFound): <what the API server or the router said>
"""

from __future__ import annotations


class CommandError(Exception):
    """The command cannot be carried out; the message is a sentence that says what to do."""

    def __str__(self) -> str:
        return f"error: {super().__str__()}"


class ServerError(CommandError):
    """The other side refused. `reason` is its CamelCase word, `message` its sentence."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        # kubectl prints a refused manifest without the prefix: the message names kind and object.
        if self.reason == "Invalid":
            return self.message
        return f"Error from server ({self.reason}): {self.message}"


def not_found(plural: str, group: str, name: str) -> ServerError:
    return ServerError("NotFound", f'{plural}.{group} "{name}" not found')
