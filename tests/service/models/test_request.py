"""The training request refuses what cannot be meant, and names the place."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from quadra_matrix.service.models.catalogue import Estimator, Linear
from quadra_matrix.service.models.request import Inline, TrainingRequest

ESTIMATOR: TypeAdapter[Any] = TypeAdapter(Estimator)
SMALLEST = {"model": "iris", "data": {"source": "builtin", "name": "iris"}}


def request_with(**fields: object) -> TrainingRequest:
    return TrainingRequest.model_validate({**SMALLEST, **fields})


def test_the_smallest_request_names_a_model_and_data() -> None:
    request = request_with()

    assert request.estimator == Linear()
    assert (request.target, request.test_fraction, request.folds, request.seed) == ("target", 0.2, 0, 0)


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"model": "Not/AName"}, ("model",)),
        ({"model": ".."}, ("model",)),
        ({"data": {"source": "builtin", "name": "mnist"}}, ("data", "builtin", "name")),
        ({"data": {"source": "file", "name": "/etc/passwd"}}, ("data",)),
        ({"test_fraction": 0.9}, ("test_fraction",)),
        ({"test_fraction": "0.2"}, ("test_fraction",)),
        ({"folds": 1}, ("folds",)),
        ({"folds": True}, ("folds",)),
        ({"target": "a", "features": ["a", "b"]}, ()),
        ({"features": ["b", "b"]}, ()),
        ({"task": "clustering"}, ("task",)),
        ({"estimator": {"name": "svm"}}, ("estimator",)),
        ({"estimator": {"name": "random_forest", "trees": 10**6}}, ("estimator", "random_forest", "trees")),
        ({"estimator": {"name": "linear", "trees": 10}}, ("estimator", "linear", "trees")),
        ({"surprise": 1}, ("surprise",)),
    ],
)
def test_a_bad_field_is_refused_at_its_place(fields: dict[str, object], place: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError) as refused:
        request_with(**fields)

    assert refused.value.errors()[0]["loc"] == place


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_a_cell_is_a_finite_number(text: str) -> None:
    with pytest.raises(ValidationError):
        Inline.model_validate_json(f'{{"columns": ["a", "b"], "rows": [[1, {text}]]}}')


@pytest.mark.parametrize(
    ("columns", "rows", "message"),
    [(["a", "a"], [[1, 2]], "twice"), (["a", "b"], [[1, 2], [3, 4, 5]], r"rows\[1\] has 3 cells; columns names 2")],
)
def test_an_inline_table_is_rectangular(columns: list[str], rows: list[list[int]], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Inline(columns=columns, rows=rows)


@pytest.mark.parametrize("name", ["linear", "random_forest", "hist_gradient_boosting", "mlp", "k_nearest"])
def test_every_number_of_the_catalogue_has_bounds(name: str) -> None:
    fields = type(ESTIMATOR.validate_python({"name": name})).model_json_schema()["properties"]

    def unbounded(schema: dict[str, Any]) -> bool:
        if "anyOf" in schema:
            return any(unbounded(part) for part in schema["anyOf"])
        if schema.get("type") == "array":
            return "maxItems" not in schema or unbounded(schema["items"])
        below = "maximum" in schema or "exclusiveMaximum" in schema
        above = "minimum" in schema or "exclusiveMinimum" in schema
        return schema.get("type") in {"integer", "number"} and not (below and above)

    assert [field for field, schema in fields.items() if unbounded(schema)] == []
