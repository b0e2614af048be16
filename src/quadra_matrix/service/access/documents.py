"""What the documents say of access: the ways to show who calls, and what each operation needs."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from flask import Flask
from pydantic import BaseModel, ConfigDict

from quadra_matrix.access.flask import access_of, limits_of
from quadra_matrix.access.gate import SESSION_COOKIES
from quadra_matrix.access.identity import KNOWN, PUBLIC, Via
from quadra_matrix.api.operation import Operation, Refinement
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
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": SESSION_COOKIES[0],
        "description": "A signed-in operator's session; what changes something needs its X-CSRF-Token too.",
    },
}


class Credential(BaseModel):
    """What an operator signs in with."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="ignore")

    credential: str
    """An API key, or a bearer token."""


class SessionView(BaseModel):
    """Who sends the requests of this session, key or token."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    subject: str
    """As audit trails name it."""
    name: str
    scopes: list[str]
    via: Via
    """What showed who calls."""
    expires: float | None
    """Seconds since the epoch; null for never."""
    csrf_token: str | None
    """Send it as X-CSRF-Token with what changes something; null where there is no cookie."""


REFINEMENTS = {
    "session_open_session": Refinement(
        summary="Sign in: open a session and set its cookie.",
        body=Credential,
        response=SessionView,
        responses={401: Problem, 403: Problem, 413: Problem, 429: Problem, 503: Problem},
    ),
    "session_show_session": Refinement(summary="Show who is signed in.", response=SessionView),
    "session_end_session": Refinement(summary="Sign out: end the session.", responses={204: None}),
}
"""What the documents say of the routes of sessions, by operation id; the routes are of the access room."""


def schemes(settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    """Return the OpenAPI security schemes that hold with these settings."""
    if settings.oidc_issuer is None:
        return SCHEMES
    place = f"{settings.oidc_issuer.rstrip('/')}/.well-known/openid-configuration"
    return {**SCHEMES, "oidc": {"type": "openIdConnect", "openIdConnectUrl": place}}


def secured(operation: Operation, app: Flask, settings: Settings) -> Operation:
    """Return an operation with the scope that it needs, and with the answers of those who do not have it."""
    need, limits = access_of(app).need(operation.endpoint), limits_of(app)
    refined = REFINEMENTS.get(operation.operation_id, operation.refined)
    limited: dict[int, Any] = {429: Problem} if limits.may_meet(operation.endpoint, operation.path) else {}
    if need == PUBLIC:
        refined = dataclasses.replace(refined, security=(), responses={**limited, **refined.responses})
        return dataclasses.replace(operation, refined=refined)
    refined = dataclasses.replace(
        refined,
        security=tuple(schemes(settings)),
        scopes=() if need == KNOWN else (need,),
        is_open=settings.environment is Environment.DEVELOPMENT or need in settings.anonymous_scopes,
        responses={503: Problem, **limited, **refined.responses},
    )
    return dataclasses.replace(operation, refined=refined)
