"""What a client raises.

TenantryError            everything below
+-- Unreachable          nothing answers there, or the connection broke twice
+-- DeadlineExceeded     the time was up: here, or 504 from the router
+-- BadRequest           400, 413, 415...: the request is malformed
+-- NotAuthorized        401, 403: the API key is missing, unknown, or another tenant's
+-- NotFound             404: no such tenant, user or model
+-- Ambiguous            409: several models answer to this
+-- InvalidInput         422: the data do not suit the model; the message names the row and the column
+-- TooManyRequests      429
+-- ServerFailed         500, 502: try again, or look into the predictor's log
    +-- Unavailable      503: not yet, or not now
"""

from __future__ import annotations


class TenantryError(Exception):
    """A request that brought no prediction; `str(error)` is a sentence that says what to do."""

    def __init__(
        self, message: str, status: int | None = None, reason: str = "", retry_after: float | None = None
    ) -> None:
        super().__init__(message, status, reason, retry_after)  # all of them, so that it can be pickled
        self.message = message
        self.status = status
        """Of the answer; None where none came."""
        self.reason = reason
        """A CamelCase word to act on, such as `UnknownUser` or `FirstLoad`."""
        self.retry_after = retry_after
        """Seconds after which it is worth trying again, where the router knows."""

    def __str__(self) -> str:
        return self.message


class Unreachable(TenantryError):
    """Nothing answers at the URL."""


class DeadlineExceeded(TenantryError):
    """No answer within the timeout."""


class BadRequest(TenantryError):
    """The request is malformed, or too large."""


class NotAuthorized(TenantryError):
    """The caller is not known, or the data are another tenant's."""


class NotFound(TenantryError):
    """There is no such tenant, user or model."""


class Ambiguous(TenantryError):
    """Several models answer to this name or user: the message lists them."""


class InvalidInput(TenantryError):
    """The data do not suit the model's inputs."""


class TooManyRequests(TenantryError):
    """The tenant's share is used up for now."""


class ServerFailed(TenantryError):
    """The other side failed."""


class Unavailable(ServerFailed):
    """The model is not loaded yet, or cannot be; or the router is about to end."""


_BY_STATUS: dict[int, type[TenantryError]] = {
    401: NotAuthorized,
    403: NotAuthorized,
    404: NotFound,
    408: DeadlineExceeded,
    409: Ambiguous,
    422: InvalidInput,
    429: TooManyRequests,
    503: Unavailable,
    504: DeadlineExceeded,
}


def error_of(status: int, message: str, reason: str, retry_after: float | None) -> TenantryError:
    kind = _BY_STATUS.get(status, BadRequest if status < 500 else ServerFailed)
    return kind(message, status, reason, retry_after)
