"""A/B tests in a Flask application: a decorator for views, and endpoints to run experiments and report outcomes."""

from __future__ import annotations

import functools
import inspect
import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Blueprint, Flask, Response, after_this_request, current_app, g, request
from itsdangerous import BadSignature, URLSafeSerializer

from quadra_matrix.errors import (
    EventsNotDurable,
    ExperimentConflict,
    ExperimentStateError,
    InvalidValue,
    MissingExtra,
    QuadraError,
    RequestRefused,
    ServiceError,
    UnknownExperiment,
)
from quadra_matrix.experiments import charts
from quadra_matrix.experiments.experiment import Experiment
from quadra_matrix.experiments.framework import ABTestingFramework
from quadra_matrix.experiments.serve import Assignment
from quadra_matrix.experiments.wire import to_json
from quadra_matrix.loopback import is_local

PROBLEM = "application/problem+json"
COOKIE = "quadra_unit"
COOKIE_DAYS = 400
"""The most that browsers keep a cookie."""

EXTENSION = "quadra_experiments"
STATUS: Mapping[type[QuadraError], tuple[int, str]] = {
    UnknownExperiment: (404, "Not Found"),
    ExperimentStateError: (409, "Conflict"),
    ExperimentConflict: (409, "Conflict"),
    InvalidValue: (400, "Bad Request"),
    MissingExtra: (501, "Not Implemented"),
    EventsNotDurable: (503, "Service Unavailable"),
}

View = Callable[..., Any]
Unit = Callable[[], str | None]
Attributes = Callable[[], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Visitors:
    """How an application knows its visitors. Both are called during a request."""

    unit: Unit = lambda: None
    """Returns the id of the signed-in user, or None for a stranger, who gets a signed cookie."""
    attributes: Attributes = dict
    """Returns what targeting rules may ask about."""


def ab_test(
    framework: ABTestingFramework,
    experiment_name: str,
    *,
    unit: Unit | None = None,
    attributes: Attributes | None = None,
) -> Callable[[View], View]:
    """Set ``g.ab_variant`` before a view runs, sync or async; a request counts as one exposure to an experiment.

    ``unit`` and ``attributes`` replace what ``setup_experiments`` was given. A visitor without an id gets a signed
    cookie, for which the application needs a ``SECRET_KEY``.
    """

    def decorate(view: View) -> View:
        def assign() -> None:
            g.ab_variant = _assigned(framework, experiment_name, unit, attributes)

        if inspect.iscoroutinefunction(view):

            @functools.wraps(view)
            async def asynchronous(*args: Any, **kwargs: Any) -> Any:
                assign()
                return await view(*args, **kwargs)

            return asynchronous

        @functools.wraps(view)
        def synchronous(*args: Any, **kwargs: Any) -> Any:
            assign()
            return view(*args, **kwargs)

        return synchronous

    return decorate


def setup_experiments(
    app: Flask,
    framework: ABTestingFramework,
    *,
    unit: Unit = lambda: None,
    attributes: Attributes = dict,
    authorize: Callable[[], bool] | None = None,
    url_prefix: str = "/api",
) -> ABTestingFramework:
    """Serve the endpoints of ``experiments_blueprint`` and tell ``ab_test`` who visits."""
    app.extensions[EXTENSION] = Visitors(unit, attributes)
    app.register_blueprint(_with_problems(framework, authorize or is_local_request), url_prefix=url_prefix)
    return framework


def experiments_blueprint(framework: ABTestingFramework, *, authorize: Callable[[], bool]) -> Blueprint:
    """Return the endpoints: ``/experiments`` for operators whom ``authorize`` admits, ``/outcomes`` for everybody.

    What they refuse they raise; ``STATUS`` tells how to answer it. A change that another process made is noticed by
    the next request: whoever creates an experiment may start it, and report outcomes, through any process.
    """
    api = Blueprint("experiments", __name__)

    @api.before_request
    def admit() -> None:
        if request.endpoint != "experiments.report_outcome" and not authorize():
            raise RequestRefused(403, "experiments are shown to and changed by operators only")
        framework.refresh()

    @api.get("/experiments")
    def list_experiments() -> Response:
        return _answer({"experiments": [to_json(each.definition) for each in framework.experiments()]})

    @api.post("/experiments")
    def create_experiment() -> Response:
        return _answer(to_json(framework.create(_body()).definition), 201)

    @api.get("/experiments/<name>")
    def show_experiment(name: str) -> Response:
        return _answer(to_json(framework.definition(name)))

    @api.get("/experiments/<name>/results")
    def show_results(name: str) -> Response:
        return _answer(framework.get_experiment_results(name))

    @api.get("/experiments/<name>/<any(history, rates):chart>.svg")
    def show_chart(name: str, chart: str) -> Response:
        drawn = charts.history_svg if chart == "history" else charts.rates_svg
        return Response(drawn(framework.analyse(name)), mimetype="image/svg+xml")

    @api.post("/experiments/<name>/<any(start, pause, complete, reweight, cover):move>")
    def change_experiment(name: str, move: str) -> Response:
        experiment = framework.experiment(name)
        _move(experiment, move, _body(required=False))
        return _answer(to_json(experiment.definition))

    @api.post("/outcomes")
    def report_outcome() -> Response:
        report_outcomes(framework, _body())
        return Response(status=204)

    return api


def report_outcomes(framework: ABTestingFramework, body: Mapping[str, Any]) -> None:
    """Record one conversion as JSON describes it, and return once it is durable."""
    known = {"experiment", "variant", "user_id", "value", "custom_metrics", "event_id"}
    if set(body) - known or "experiment" not in body:
        raise InvalidValue("outcome", sorted(body), f"an object with 'experiment' and any of {sorted(known)}")
    for name in ("experiment", "variant", "user_id", "event_id"):
        absent = name != "experiment" and body.get(name) is None
        if not absent and not isinstance(body[name], str):
            raise InvalidValue(name, body[name], "text")
    metrics = {} if body.get("custom_metrics") is None else body["custom_metrics"]
    if not isinstance(metrics, Mapping):
        raise InvalidValue("custom_metrics", metrics, "an object of name to number")
    framework.track_conversion(
        body["experiment"],
        body.get("variant"),
        body.get("value"),
        metrics,
        user_id=body.get("user_id"),
        event_id=body.get("event_id"),
    )
    framework.flush()


def ask(framework: ABTestingFramework, path: str, body: object | None = None) -> Any:
    """Return what the endpoint at ``path`` answers for this framework, without a server; ``body`` makes it a POST."""
    app = Flask("quadra_experiments")
    app.register_blueprint(_with_problems(framework, lambda: True))
    with app.test_client() as client:
        answer = client.get(path) if body is None else client.post(path, json=body)
    if answer.status_code >= 400:
        raise ServiceError(answer.status_code, answer.get_json(force=True))
    return answer.get_json()


def is_local_request() -> bool:
    """Tell whether the current request comes from this machine."""
    return is_local(request.remote_addr or "", request.host, request.headers)


def _with_problems(framework: ABTestingFramework, authorize: Callable[[], bool]) -> Blueprint:
    """Return the endpoints for an app that answers our errors in no way of its own."""
    api = experiments_blueprint(framework, authorize=authorize)
    api.register_error_handler(QuadraError, _problem)
    return api


def _assigned(framework: ABTestingFramework, name: str, unit: Unit | None, attributes: Attributes | None) -> Assignment:
    """Return the request's assignment; the first one stands for the whole request."""
    visitors: Visitors = current_app.extensions.get(EXTENSION) or Visitors()
    seen: dict[str, Assignment] = g.setdefault("ab_variants", {})
    if name not in seen:
        who = (unit or visitors.unit)() or _stranger()
        seen[name] = framework.get_variant(name, who, (attributes or visitors.attributes)())
    return seen[name]


def _stranger() -> str:
    """Return the id in the visitor's cookie, or a new one that the answer sets."""
    if "ab_stranger" in g:
        known: str = g.ab_stranger
        return known
    if not current_app.secret_key:
        raise InvalidValue("SECRET_KEY", None, "set: it signs the cookie by which a stranger keeps a variant")
    signer = URLSafeSerializer(current_app.secret_key, salt=COOKIE)
    try:
        g.ab_stranger = str(signer.loads(request.cookies.get(COOKIE, "")))
    except BadSignature:
        g.ab_stranger = secrets.token_urlsafe(16)
        after_this_request(functools.partial(_remember, value=str(signer.dumps(g.ab_stranger))))
    unit: str = g.ab_stranger
    return unit


def _remember(response: Response, *, value: str) -> Response:
    """Set the cookie."""
    age = COOKIE_DAYS * 86_400
    response.set_cookie(COOKIE, value, max_age=age, httponly=True, samesite="Lax", secure=request.is_secure)
    return response


def _move(experiment: Experiment, move: str, body: Mapping[str, Any]) -> None:
    """Apply one move of the life cycle with its arguments."""
    moves: Mapping[str, tuple[Callable[..., None], set[str]]] = {
        "start": (experiment.start, set()),
        "pause": (experiment.pause, {"reason"}),
        "complete": (experiment.complete, {"winner", "reason"}),
        "reweight": (experiment.reweight, {"weights"}),
        "cover": (experiment.cover, {"coverage"}),
    }
    act, arguments = moves[move]
    if set(body) - arguments or (move in {"reweight", "cover"} and not body):
        raise InvalidValue("body", sorted(body), f"an object with {sorted(arguments) or 'nothing'}")
    if move == "reweight" and not isinstance(body["weights"], Mapping):
        raise InvalidValue("weights", body["weights"], "an object of variant to number")
    act(**body)


def _body(*, required: bool = True) -> Mapping[str, Any]:
    """Return the request's JSON object."""
    if not required and not request.content_length:
        return {}
    found = request.get_json(silent=True)
    if not isinstance(found, dict):
        raise InvalidValue("body", type(found).__name__, "a JSON object")
    return found


def _problem(error: QuadraError) -> Response:
    """Return the problem document of an error (RFC 9457)."""
    if isinstance(error, RequestRefused):
        return _answer(_document(error.status, HTTPStatus(error.status).phrase, error.detail), error.status, PROBLEM)
    status, title = next(
        (STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), (500, "Internal Server Error")
    )
    document = _document(status, title, str(error))
    if isinstance(error, InvalidValue):
        document["field"] = error.field
    answer = _answer(document, status, PROBLEM)
    if status == 503:
        answer.headers["Retry-After"] = "1"
    return answer


def _document(status: int, title: str, detail: str) -> dict[str, Any]:
    """Return a problem as JSON values."""
    return {"type": "about:blank", "title": title, "status": status, "detail": detail}


def _answer(value: object, status: int = 200, mimetype: str = "application/json") -> Response:
    """Return a value as JSON."""
    return Response(json.dumps(value, allow_nan=False), status, mimetype=mimetype)
