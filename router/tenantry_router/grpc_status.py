"""Problems as gRPC tells them: a status code, the sentence, and what a program can act on as metadata."""

from __future__ import annotations

import grpc

from tenantry_core.problems import Problem

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def code(problem: Problem) -> grpc.StatusCode:
    """The one that says the same as the HTTP status."""
    return _CODES.get(problem.status, grpc.StatusCode.UNKNOWN)


def metadata(problem: Problem) -> list[tuple[str, str]]:
    """`tenantry-reason`, a word, and `retry-after`, in seconds: where there are such."""
    told = [("tenantry-reason", problem.reason)] if problem.reason else []
    return told if problem.retry_after is None else [*told, ("retry-after", str(problem.retry_after))]
