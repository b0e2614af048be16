"""Every error of an app as a problem document, without a stack trace and without the text of an unexpected one."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flask import Flask, Response, current_app, request
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException, InternalServerError

from quadra_matrix.api.jsontext import without_nan
from quadra_matrix.api.problem import MEDIA_TYPE, FieldError, Problem, kind_of, of_status, trace_id_from
from quadra_matrix.api.validation import MAX_BODY
from quadra_matrix.errors import QuadraError, RequestRefused, require
from quadra_matrix.events import Hook, ignore

log = logging.getLogger(__name__)

_EXTENSION = "quadra_matrix.api"

ResponseMode = Literal["strict", "report", "off"]
"""What happens to an answer that breaks its schema: 500, a log line and an event, or nothing."""


@dataclass(frozen=True, slots=True)
class ApiOptions:
    """How one app answers."""

    trace_id: Callable[[], str | None] | None = None
    """Returns the id of the request's trace, 32 hexadecimal digits, or None where there is no trace."""
    responses: ResponseMode = "strict"
    """What validated views do with an answer that breaks its schema."""
    max_body: int = MAX_BODY
    """Bytes of a request body that validated views read."""
    hook: Hook = field(default=ignore)
    """Hears ``ResponseBroke``."""

    def __post_init__(self) -> None:
        require(self.responses in ("strict", "report", "off"), "responses", self.responses, "strict, report or off")
        require(self.max_body > 0, "max_body", self.max_body, "above 0 bytes")


_DEFAULTS = ApiOptions()


def options_of(app: Flask) -> ApiOptions:
    """Return what ``setup_problem_errors`` was told, or the defaults."""
    options = app.extensions.get(_EXTENSION, _DEFAULTS)
    return options if isinstance(options, ApiOptions) else _DEFAULTS


def answers_problems(app: Flask) -> bool:
    """Tell whether the errors of an app are problem documents."""
    return _EXTENSION in app.extensions


def setup_problem_errors(
    app: Flask,
    *,
    trace_id: Callable[[], str | None] | None = None,
    statuses: Mapping[type[QuadraError], int] | None = None,
    responses: ResponseMode = "strict",
    max_body: int = MAX_BODY,
    hook: Hook = ignore,
) -> None:
    """Answer every error of the app with a problem document (RFC 9457), and never write NaN into JSON.

    ``statuses`` says which errors of ours are the caller's fault or have a status of their own; their text becomes the
    detail, the name of their class the type. Any other exception is a 500 that tells only its trace id; Flask logs it
    as always, and as always hands it to the test client and the debugger where ``PROPAGATE_EXCEPTIONS``, ``TESTING``
    or ``DEBUG`` says so. An error handler that the app or a blueprint has registered for a status or a class goes
    first.
    """
    app.extensions[_EXTENSION] = ApiOptions(trace_id=trace_id, responses=responses, max_body=max_body, hook=hook)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(RequestRefused, _answer_refused)
    for kind, status in (statuses or {}).items():
        app.register_error_handler(kind, _answer_with(status))
    if type(app.json) is DefaultJSONProvider:
        app.json = FiniteJSONProvider(app)


class FiniteJSONProvider(DefaultJSONProvider):
    """Flask's JSON, except that NaN and infinity become null: no JSON parser has to read them."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        """Return the JSON of an object."""
        kwargs.setdefault("allow_nan", False)
        try:
            return super().dumps(obj, **kwargs)
        except ValueError:
            # Rare, so the fast path pays nothing for it. A circular object raises again here.
            return super().dumps(without_nan(obj), **kwargs)


def trace_id() -> str:
    """Return the trace id of the current request: the configured one, the caller's ``traceparent``, or a new one."""
    ask = options_of(current_app).trace_id
    return (ask() if ask else None) or trace_id_from(request.headers.get("traceparent"))


def problem_response(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    """Return the response that carries a problem of the current request."""
    document = problem.at(request.path, trace_id()).to_json()
    response = current_app.response_class(document, status=problem.status, content_type=MEDIA_TYPE)
    response.headers.update(headers or {})
    return response


def _answer_http_exception(error: HTTPException) -> Any:
    """Return the problem of an error that Flask, Werkzeug or ``abort`` raised."""
    if error.response is not None or error.code is None or error.code < 400:
        return error  # a redirect, or a response that the app made itself
    unexpected = isinstance(error, InternalServerError) and error.original_exception is not None
    problem = of_status(error.code, None if unexpected else error.description)
    response = problem_response(problem, _kept_headers(error))
    if unexpected:
        log.error("answered %s %s with 500, trace %s", request.method, request.path, _said_trace(response))
    return response


def _kept_headers(error: HTTPException) -> dict[str, str]:
    """Return the headers of an error that mean something: Allow, Retry-After, WWW-Authenticate."""
    return {name: value for name, value in error.get_headers() if name.lower() != "content-type"}


def _said_trace(response: Response) -> str:
    """Return the trace id that a problem response carries."""
    return str(response.get_json()["trace_id"])


def _answer_refused(error: RequestRefused) -> Response:
    """Return the problem of a request that the app refused on purpose."""
    errors = tuple(FieldError(detail, pointer) for pointer, detail in error.errors.items())
    return problem_response(dataclasses.replace(of_status(error.status, error.detail), errors=errors), error.headers)


def _answer_with(status: int) -> Callable[[QuadraError], Response]:
    """Return the handler that answers an error of ours with a status, its own text and its Retry-After, if any."""

    def answer(error: QuadraError) -> Response:
        wait = getattr(error, "retry_after", None)
        headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
        return problem_response(kind_of(type(error), status).problem(str(error)), headers)

    return answer
