"""``/api/experiments`` and ``/api/outcomes`` as the service documents them, and experiments behind a model's alias."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from flask import Blueprint, Response
from flask.blueprints import BlueprintSetupState
from pydantic import BaseModel, ConfigDict, Field

from quadra_matrix.api.flask import documented, problem_response, validated
from quadra_matrix.api.problem import Problem, kind_of
from quadra_matrix.errors import (
    EventsNotDurable,
    ExperimentConflict,
    ExperimentStateError,
    InvalidValue,
    QuadraError,
    RequestRefused,
    UnknownExperiment,
)
from quadra_matrix.experiments import ABTestingFramework
from quadra_matrix.experiments.definition import AutoStop, Status
from quadra_matrix.experiments.flask import experiments_blueprint
from quadra_matrix.experiments.wire import to_json
from quadra_matrix.service.models.experiments import ModelExperiments
from quadra_matrix.service.models.request import Wire
from quadra_matrix.service.routes.models import AliasPath
from quadra_matrix.service.routes.refusals import answer_refusals

STATUSES: dict[type[QuadraError], int] = {
    UnknownExperiment: 404,
    ExperimentStateError: 409,
    ExperimentConflict: 409,
    EventsNotDurable: 503,
}
"""The HTTP status of what experiments refuse."""

REFUSED: Mapping[type[QuadraError], int] = {InvalidValue: 400}
"""What only these routes blame on the caller: anywhere else a value that breaks a rule is the service's mistake."""

Authorize = Callable[[], bool]
Share = Annotated[float, Field(gt=0, lt=1)]
Digits = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,8}$")]
"""The number of a version: JSON has only texts for keys."""


class ExperimentDraft(BaseModel):
    """An experiment to create; every other field of a definition may be given too."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    name: Annotated[str, Field(min_length=1, max_length=200)]
    variants: Annotated[list[dict[str, Any]], Field(min_length=2)]
    """Name, weight and config of each; the first is the control."""


class ExperimentView(ExperimentDraft):
    """The latest version of an experiment."""

    status: Status
    version: Annotated[int, Field(ge=1)]
    winner: str | None
    reason: str
    """Why it is in this status."""
    changed_at: float
    """Seconds since the epoch."""


class ExperimentList(BaseModel):
    """Every experiment, by name."""

    experiments: list[ExperimentView]


class ExperimentResults(BaseModel):
    """What an experiment has found so far; true at every look."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="allow")

    experiment_name: str
    status: Status
    decision: dict[str, Any]
    """Verdict, variant and reason."""
    variants: dict[str, dict[str, Any]]
    """Impressions, users, conversions, rate and value of each."""
    statistical_significance: dict[str, dict[str, Any]]
    """Each treatment beside the control."""
    sample_ratio: dict[str, Any]
    """Whether units fell into the variants as designed; the other results are withheld where they did not."""


class Outcome(BaseModel):
    """What a unit did. It counts once for each ``event_id``."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    experiment: str
    """As the prediction named it."""
    user_id: str | None = None
    """The ``unit`` of the prediction. Without it ``variant`` is needed, and every outcome counts as another unit's."""
    variant: str | None = None
    value: float | None = None
    custom_metrics: dict[str, float] | None = None
    event_id: str | None = None
    """Any text that is the same when the same outcome is sent again."""


class ModelTrial(Wire):
    """Which versions should try to replace the one that an alias points at."""

    model_config = ConfigDict(
        use_attribute_docstrings=True, json_schema_extra={"examples": [{"challengers": {"2": 0.5}, "start": True}]}
    )

    challengers: Annotated[dict[Digits, Share], Field(min_length=1, max_length=31)]
    """Number of a version to its share of the units, above 0 and below 1; the rest stays with the champion."""
    start: bool = False
    """Start at once instead of leaving a draft."""
    planned_users: Annotated[int, Field(ge=1)] | None = None
    """Units at which a decision is due; a plan needs fewer of them than none. See ``quadra experiments power``."""
    conversion_window: Annotated[float, Field(gt=0)] | None = None
    """Seconds after a unit's first prediction within which an outcome counts; any time when not given."""
    auto_stop: AutoStop = AutoStop.REPORT
    """What a decision does when the experiments are checked."""


def experiment_routes(framework: ABTestingFramework, authorize: Authorize) -> Blueprint:
    """Return the routes of experiments, for operators, and of outcomes, for everybody."""
    routes = experiments_blueprint(framework, authorize=authorize)
    routes.url_prefix = "/api"
    routes.register_error_handler(InvalidValue, _answer_invalid)
    routes.record(_describe)
    return routes


def model_experiment_routes(framework: ABTestingFramework, trials: ModelExperiments, authorize: Authorize) -> Blueprint:
    """Return the route that puts an experiment behind an alias, for operators."""
    routes = Blueprint("model_experiments", __name__, url_prefix="/api/models")
    routes.register_error_handler(InvalidValue, _answer_invalid)
    answer_refusals(routes)

    @routes.before_request
    def admit() -> None:
        if not authorize():
            raise RequestRefused(403, "experiments are shown to and changed by operators only")
        framework.refresh()

    @routes.post("/<model>/aliases/<alias>/experiment")
    @documented(tags=("experiments",))
    @validated(status=201, responses=_AWAY | {400: Problem, 404: Problem})
    def begun(path: AliasPath, body: ModelTrial) -> tuple[ExperimentView, int]:
        """Let versions of a model challenge the one that an alias points at."""
        experiment = trials.create(
            path.model,
            path.alias,
            {int(version): share for version, share in body.challengers.items()},
            planned_users=body.planned_users,
            conversion_window=body.conversion_window,
            auto_stop=body.auto_stop.value,
        )
        if body.start:
            experiment.start()
        return ExperimentView.model_validate(to_json(experiment.definition)), 201

    return routes


def _answer_invalid(refused: InvalidValue) -> Response:
    return problem_response(kind_of(InvalidValue, REFUSED[InvalidValue]).problem(str(refused)))


_AWAY: dict[int, Any] = {503: Problem}
_ONE = _AWAY | {404: Problem}
_DESCRIBED: Mapping[str, dict[str, Any]] = {
    "list_experiments": {
        "summary": "List every experiment.",
        "response": ExperimentList,
        "responses": _AWAY,
    },
    "create_experiment": {
        "summary": "Create a draft.",
        "body": ExperimentDraft,
        "responses": _AWAY | {201: ExperimentView, 400: Problem},
    },
    "show_experiment": {
        "summary": "Show an experiment.",
        "response": ExperimentView,
        "responses": _ONE,
    },
    "show_results": {
        "summary": "Show what an experiment has found so far.",
        "response": ExperimentResults,
        "responses": _ONE,
    },
    "show_chart": {
        "summary": "Draw the history or the rates of an experiment.",
        "response": str,
        "media": "image/svg+xml",
        "responses": _ONE,
    },
    "change_experiment": {
        "summary": "Start, pause, complete, reweight or cover an experiment.",
        "response": ExperimentView,
        "responses": _ONE | {400: Problem, 409: Problem},
    },
    "report_outcome": {
        "summary": "Report what a unit did; answered once that is durable.",
        "body": Outcome,
        "responses": {204: None, 400: Problem, 404: Problem, 503: Problem},
    },
}
"""What the documents say of each route of the experiments room, which knows nothing of documents."""


def _describe(state: BlueprintSetupState) -> None:
    """Document the views once they are the app's."""
    for name, said in _DESCRIBED.items():
        documented(**said)(state.app.view_functions[f"experiments.{name}"])
