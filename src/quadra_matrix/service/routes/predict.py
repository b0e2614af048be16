"""``POST /api/predict``: ask a model about rows."""

from __future__ import annotations

from typing import Annotated, Any

from flask import Blueprint
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from quadra_matrix.api.flask import documented, trace_id, validated
from quadra_matrix.api.problem import Problem
from quadra_matrix.service.models.experiments import ModelExperiments
from quadra_matrix.service.models.inference import Inference
from quadra_matrix.service.models.request import Name, Wire
from quadra_matrix.service.routes.models import VersionNumber
from quadra_matrix.service.routes.refusals import answer_refusals

BYTES_A_ROW = 100_000
MOST_BODY = 64 * 1024 * 1024
"""Bytes of the largest request, whatever the limit of rows."""

Cell = Annotated[
    FiniteFloat | bool | Annotated[str, Field(max_length=10_000)] | None, Field(union_mode="left_to_right")
]
"""One value of a row; null where it is missing. Numbers come first: most cells are, and the first match ends it."""

Rows = Annotated[list[list[Cell]] | list[dict[str, Cell]], Field(union_mode="left_to_right")]


EXAMPLES = {
    "lists": {"model": "iris", "rows": [[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, None]]},
    "records": {
        "model": "iris",
        "version": 1,
        "rows": [
            {
                "sepal length (cm)": 5.1,
                "sepal width (cm)": 3.5,
                "petal length (cm)": 1.4,
                "petal width (cm)": 0.2,
            }
        ],
    },
}


class InferenceRequest(Wire):
    """Rows to predict, and which version should."""

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={
            "not": {
                "properties": {"version": {"type": "integer"}, "alias": {"type": "string"}},
                "required": ["version", "alias"],
            },
        },
    )

    rows: Rows
    """Lists in the order of the model's features, or records by their names; null is a missing value."""
    model: Name | None = None
    """The service's default model when not given."""
    version: VersionNumber | None = None
    """A fixed version; instead of an alias."""
    alias: Name | None = None
    """A name that points at a version; ``production`` when neither is given."""
    unit: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Who or what the rows are about, such as a customer's id. While an experiment stands behind the alias, it decides
    which version answers, the same one each time, and the answer counts; without it, and with a ``version``, the
    request takes no part in any experiment."""

    @model_validator(mode="after")
    def _one_way(self) -> InferenceRequest:
        """Refuse a version and an alias together."""
        if self.version is not None and self.alias is not None:
            raise ValueError("give a version or an alias, not both")
        return self


class ServedBy(BaseModel):
    """The experiment that chose the version."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """Send it as ``experiment`` to /api/outcomes, with the unit as ``user_id``."""
    variant: str
    counted: bool
    """False where the unit is not part of it: it is paused, covers fewer units, or forces the unit's variant."""


class InferenceResponse(BaseModel):
    """What a version says of each row."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    model: str
    version: VersionNumber
    """The version that answered."""
    predictions: list[bool | int | float | str]
    """Labels, or the numbers of a regression, in the order of the rows."""
    probabilities: list[list[float]] | None
    """For each row one for each class; null for a regression."""
    classes: list[bool | int | float | str]
    """Labels in the order of the probabilities; empty for a regression."""
    request_id: str
    """Names this request in logs and traces."""
    experiment: ServedBy | None = Field(default=None, exclude_if=lambda served: served is None)
    """Absent where no experiment chose the version."""


def predict_routes(inference: Inference, trials: ModelExperiments, *, default_model: str, max_rows: int) -> Blueprint:
    """Return the route of predictions."""
    routes = Blueprint("predict", __name__)
    answer_refusals(routes)

    @routes.post("/api/predict")
    @documented(examples=EXAMPLES)
    @validated(responses={404: Problem, 503: Problem}, max_body=min(MOST_BODY, max_rows * BYTES_A_ROW))
    def predict(body: InferenceRequest) -> InferenceResponse:
        """Predict rows with a version of a model."""
        rows: Any = body.rows
        model, version = body.model or default_model, body.version
        choice = None
        if body.unit is not None and version is None:
            choice = trials.choose(model, body.alias, body.unit)
            version = trials.version_of(model, choice) if choice else None
        answer = inference.predict(model, rows, version=version, alias=body.alias)
        return InferenceResponse.model_construct(
            model=answer.model,
            version=answer.version,
            predictions=answer.predictions,
            probabilities=answer.probabilities,
            classes=list(answer.classes),
            request_id=trace_id(),
            experiment=choice
            and ServedBy(name=choice.experiment, variant=choice.variant, counted=choice.in_experiment),
        )

    return routes
