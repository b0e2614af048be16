"""The service's description of itself: what its documents add to the routes, and who may read them."""

from __future__ import annotations

import dataclasses
import hmac
from collections.abc import Callable

from flask import Flask, request
from pydantic import SecretStr
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from quadra_matrix import __version__
from quadra_matrix.api.asyncapi import Channel
from quadra_matrix.api.flask import setup_api_documentation
from quadra_matrix.api.operation import Operation
from quadra_matrix.api.problem import Problem
from quadra_matrix.service import circuits, traces
from quadra_matrix.service.access.documents import schemes, secured
from quadra_matrix.service.messages import WebSocketMessage
from quadra_matrix.service.settings import Settings

CHANNELS = (Channel("/ws", sends=(WebSocketMessage,), summary="What happens to jobs, on the hub's own port."),)
"""WebSockets of the service."""

REFINEMENTS = circuits.REFINEMENTS | traces.REFINEMENTS
"""What is said of routes that know nothing of documents, by operation id."""

STORED = frozenset({"train", "datasets", "models", "predict"})
"""Tags of the routes that read the database, which may be away."""


CHALLENGE = WWWAuthenticate("basic", {"realm": "API documentation"})


def describe_api(app: Flask, settings: Settings) -> None:
    """Serve the documents and, if the settings want them, the pages; behind the password if there is one."""
    password = settings.api_password
    setup_api_documentation(
        app,
        title="Quadra Matrix",
        version=__version__,
        channels=CHANNELS,
        schemas=(WebSocketMessage,),
        security_schemes=schemes(settings),
        refine=lambda operation: secured(_refined(operation), app, settings),
        pages=settings.api_pages,
        guard=_asks_for(password) if password else None,
    )


def _refined(operation: Operation) -> Operation:
    """Return an operation with what its view cannot say: the answer of the app while the database is away."""
    if operation.operation_id in REFINEMENTS:
        return dataclasses.replace(operation, refined=REFINEMENTS[operation.operation_id])
    if not STORED.intersection(operation.tags):
        return operation
    responses = {503: Problem, **operation.refined.responses}
    return dataclasses.replace(operation, refined=dataclasses.replace(operation.refined, responses=responses))


def _asks_for(password: SecretStr) -> Callable[[], None]:
    """Return a guard that lets in whoever knows the password, under any user name."""
    expected = password.get_secret_value().encode()

    def guard() -> None:
        given = request.authorization
        known = given.password if given is not None and given.type == "basic" else None
        if known is None or not hmac.compare_digest(known.encode(), expected):
            raise Unauthorized(
                "give the password of the API pages", www_authenticate=WWWAuthenticate("basic", {"realm": "api"})
            )

    return guard
