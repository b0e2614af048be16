"""What a refusal of the models part is over HTTP: its status, and the places at fault."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, Response

from quadra_matrix.api.flask import problem_response
from quadra_matrix.api.problem import FieldError, Problem, kind_of, pointer
from quadra_matrix.errors import (
    BadDataset,
    BadRows,
    BrokenModel,
    ModelRefused,
    UnknownDataset,
    UnknownModel,
    UploadTooLarge,
)

STATUSES: Mapping[type[ModelRefused], int] = {
    UnknownModel: 404,
    UnknownDataset: 404,
    UploadTooLarge: 413,
    BadDataset: 422,
    BadRows: 422,
    BrokenModel: 503,
}


def answer_refusals(routes: Blueprint) -> None:
    """Answer what the models part refuses with a problem document."""
    for kind in STATUSES:
        routes.register_error_handler(kind, _answer)


def problem_of(refused: ModelRefused) -> Problem:
    """Return the problem that a refusal is."""
    kind = type(refused)
    return kind_of(kind, STATUSES[kind]).problem(str(refused), _places(refused))


def _answer(refused: ModelRefused) -> Response:
    return problem_response(problem_of(refused))


def _places(refused: ModelRefused) -> list[FieldError]:
    """Return each place at fault. A column of an uploaded file has no place in the request but its name."""
    if isinstance(refused, BadRows):
        return [FieldError(fault, pointer(*place)) for place, fault in refused.places.items()]
    if isinstance(refused, BadDataset):
        return [FieldError(f"column {name!r} {fault}") for name, fault in refused.columns.items()]
    return []
