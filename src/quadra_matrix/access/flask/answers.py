"""What a refused caller is told: a problem document (RFC 9457), with the headers that say what to do."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping

from flask import Flask, Response, request

from quadra_matrix.access.gate import CHALLENGE
from quadra_matrix.errors import (
    AccessRefused,
    AccessUndecided,
    Forbidden,
    QuadraError,
    TooManyRequests,
    Unauthenticated,
)

STATUSES: Mapping[type[QuadraError], int] = {
    Unauthenticated: 401,
    Forbidden: 403,
    TooManyRequests: 429,
    AccessUndecided: 503,
}
"""The HTTP status of each refusal."""

Answer = Callable[[AccessRefused, Mapping[str, str]], Response]
"""Returns the response to a refusal, with these headers."""

_NAMES: Mapping[type[QuadraError], str] = {
    Unauthenticated: "unauthenticated",
    Forbidden: "forbidden",
    TooManyRequests: "too-many-requests",
    AccessUndecided: "access-undecided",
}


def headers_of(refused: AccessRefused) -> dict[str, str]:
    """Return the headers of the answer to a refusal."""
    headers = {"Cache-Control": "no-store"}
    if isinstance(refused, Unauthenticated):
        headers["WWW-Authenticate"] = CHALLENGE
    if isinstance(refused, TooManyRequests | AccessUndecided):
        headers["Retry-After"] = str(max(1, math.ceil(refused.retry_after)))
    return headers


def answer_refusals(app: Flask, answer: Answer, kinds: Iterable[type[QuadraError]] = tuple(STATUSES)) -> None:
    """Answer refusals of these kinds everywhere in the application."""

    def answer_refused(refused: AccessRefused) -> Response:
        return answer(refused, headers_of(refused))

    for kind in kinds:
        app.register_error_handler(kind, answer_refused)


def problem_answer(refused: AccessRefused, headers: Mapping[str, str]) -> Response:
    """Return a refusal as a problem document."""
    kind = type(refused)
    told = {
        "type": f"urn:quadra-matrix:problem:{_NAMES[kind]}",
        "title": _NAMES[kind].replace("-", " ").capitalize(),
        "status": STATUSES[kind],
        "detail": str(refused),
        "instance": request.path,
    }
    answer = Response(json.dumps(told), status=STATUSES[kind], mimetype="application/problem+json")
    answer.headers.update(headers)
    return answer
