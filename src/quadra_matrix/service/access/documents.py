"""What the documents say of access: the ways to show who calls, and what each operation needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from quadra_matrix.access.flask import Access
from quadra_matrix.access.identity import KNOWN, PUBLIC
from quadra_matrix.api.operation import Operation
from quadra_matrix.api.problem import Problem
from quadra_matrix.service.settings import Environment, Settings

SCHEMES: Mapping[str, Mapping[str, Any]] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key: `quadra keys create`.",
    },
    "key": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "The same key in a header of its own.",
    },
}


def schemes(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """Return the OpenAPI security schemes that hold with these settings."""
    return SCHEMES


def secured(operation: Operation, access: Access, settings: Settings) -> Operation:
    """Return an operation with the scope that it needs, and with the answers of those who do not have it."""
    need = access.need(operation.endpoint)
    refined = operation.refined
    if need == PUBLIC:
        return dataclasses.replace(operation, refined=dataclasses.replace(refined, security=()))
    refined = dataclasses.replace(
        refined,
        security=tuple(schemes(settings)),
        scopes=() if need == KNOWN else (need,),
        is_open=settings.environment is Environment.DEVELOPMENT or need in settings.anonymous_scopes,
        responses={503: Problem, **refined.responses},
    )
    return dataclasses.replace(operation, refined=refined)
