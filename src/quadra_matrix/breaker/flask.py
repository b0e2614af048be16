"""Circuit breakers in a Flask application: an open circuit answers 503, and operators have endpoints."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Flask, Response, request

from quadra_matrix.breaker.guard import CircuitBreaker
from quadra_matrix.breaker.registry import BREAKERS, Registry
from quadra_matrix.errors import CircuitBreakerError, CircuitUnknown, Forbidden, InvalidValue, QuadraError
from quadra_matrix.loopback import is_local

PROBLEM = "application/problem+json"

ACTIONS: dict[str, Callable[[CircuitBreaker], None]] = {
    "open": CircuitBreaker.force_open,
    "close": CircuitBreaker.close,
    "reset": CircuitBreaker.reset,
    "disable": CircuitBreaker.disable,
    "shadow": CircuitBreaker.shadow,
}
"""What an operator may ask for."""


STATUSES: Mapping[type[QuadraError], int] = {CircuitUnknown: 404, CircuitBreakerError: 503}
"""The HTTP status of what is refused."""

Answer = Callable[[type[QuadraError], int, str, Mapping[str, str]], Response]
"""Returns the response to a refusal, from the class of its error, its status, what callers are told, and headers."""


def is_local_request() -> bool:
    """Tell whether the current request comes from this machine."""
    return is_local(request.remote_addr or "", request.host, request.headers)


def setup_circuit_breakers(
    app: Flask,
    registry: Registry = BREAKERS,
    *,
    authorize: Callable[[], bool] = is_local_request,
    prefix: str = "/admin/circuit-breakers",
    answer: Answer | None = None,
) -> Registry:
    """Answer 503 with ``Retry-After`` where a view meets an open circuit, and serve the breakers under ``prefix``.

    ``GET prefix`` lists every breaker, ``GET prefix/NAME`` shows one, and ``POST prefix/NAME`` with the JSON
    ``{"action": "open"}`` (or close, reset, disable, shadow) changes it. ``authorize`` is asked about each of them
    during the request; the default admits only this machine. ``answer`` makes the response to what is refused; without
    it that is a problem document.
    """
    refuse = answer or problem_answer
    admin = Blueprint("circuit_breakers", __name__, url_prefix=prefix)

    @admin.before_request
    def refuse_strangers() -> Response | None:
        if authorize():
            return None
        return refuse(Forbidden, 403, "circuit breakers are shown to and changed by operators only", {})

    @admin.get("")
    def list_breakers() -> Response:
        return _answer({"circuit_breakers": [breaker.snapshot().as_json() for breaker in registry]})

    @admin.get("/<path:name>")
    def show_breaker(name: str) -> Response:
        return _answer(registry[name].snapshot().as_json())

    @admin.post("/<path:name>")
    def change_breaker(name: str) -> Response:
        breaker = registry[name]
        # Only JSON: a page of another site can post a form to this address, but not JSON.
        asked = request.get_json(silent=True) if request.is_json else None
        act = ACTIONS.get(str(asked.get("action"))) if isinstance(asked, dict) else None
        if act is None:
            detail = f'send JSON such as {{"action": "open"}}; actions are {list(ACTIONS)}'
            return refuse(InvalidValue, 400, detail, {})
        act(breaker)
        return _answer(breaker.snapshot().as_json())

    @admin.errorhandler(CircuitUnknown)
    def answer_unknown(unknown: CircuitUnknown) -> Response:
        return refuse(CircuitUnknown, 404, f"no circuit breaker is named {unknown.name!r}", {})

    def answer_open(refused: CircuitBreakerError) -> Response:
        return answer_open_circuit(refused, refuse)

    app.register_blueprint(admin)
    app.register_error_handler(CircuitBreakerError, answer_open)
    app.extensions["circuit_breakers"] = registry
    return registry


def problem_answer(kind: type[QuadraError], status: int, detail: str, headers: Mapping[str, str]) -> Response:
    """Return a problem document (RFC 9457) whose type is named after the error."""
    words = re.findall(r"[A-Z][a-z]*", kind.__name__)
    told = {
        "type": "urn:quadra-matrix:problem:" + "-".join(words).lower(),
        "title": " ".join(words).capitalize(),
        "status": status,
        "detail": detail,
        "instance": request.path,
    }
    return Response(json.dumps(told), status=status, mimetype=PROBLEM, headers=dict(headers))


def answer_open_circuit(refused: CircuitBreakerError, answer: Answer = problem_answer) -> Response:
    """Return 503 with the seconds to wait. Clients do not learn the name of what is down."""
    if refused.retry_after is None:
        return answer(CircuitBreakerError, 503, "a part of this service is switched off", {})
    seconds = max(1, math.ceil(refused.retry_after))
    detail = f"a part of this service does not answer; try again in {seconds} s"
    return answer(CircuitBreakerError, 503, detail, {"Retry-After": str(seconds)})


def _answer(value: Mapping[str, Any]) -> Response:
    """Return JSON that no cache keeps."""
    answer = Response(json.dumps(value, allow_nan=False), mimetype="application/json")
    answer.cache_control.no_store = True
    return answer
