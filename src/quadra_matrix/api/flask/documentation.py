"""``setup_api_documentation``: an app's own description of itself, as documents and as pages."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flask import Blueprint, Flask, Response, current_app, request

from quadra_matrix.api.asyncapi import Channel, asyncapi
from quadra_matrix.api.downgrade import to_3_0
from quadra_matrix.api.flask.pages import add_pages
from quadra_matrix.api.flask.walk import operations_of
from quadra_matrix.api.operation import Info, Operation
from quadra_matrix.api.spec import openapi

NAME = "quadra_api"
"""Name of the blueprint; the documents leave its routes out."""

_EXTENSION = "quadra_matrix.api.documentation"

Guard = Callable[[], Any]
"""Called before every document and page; returns None to let the request in, or the response that keeps it out."""
Refine = Callable[[Operation], Operation]


def setup_api_documentation(
    app: Flask,
    *,
    title: str | None = None,
    version: str = "1.0.0",
    description: str | None = None,
    prefix: str = "/api",
    channels: Sequence[Channel] = (),
    schemas: Sequence[Any] = (),
    security_schemes: Mapping[str, Mapping[str, Any]] | None = None,
    refine: Refine = lambda operation: operation,
    pages: bool = True,
    guard: Guard | None = None,
) -> ApiDocumentation:
    """Serve the app's OpenAPI and AsyncAPI documents and the pages that show them, below ``prefix``.

    May be called before or after the routes exist: they are read when a document is asked for. No response of the app
    itself changes. ``refine`` sees every operation and returns what is written down, which is the place for what a
    middleware adds to all routes; it may hide one. ``pages=False`` leaves only the documents; ``guard`` stands before
    all of it.
    """
    info = Info(title or app.name, version, description, dict(security_schemes or {}), tuple(schemas))
    found = ApiDocumentation(app, info, tuple(channels), refine)
    blueprint = Blueprint(NAME, __name__, url_prefix=prefix)
    blueprint.add_url_rule("/openapi.json", "openapi", lambda: _document(found.openapi(request.script_root)))
    blueprint.add_url_rule("/openapi-3.1.json", "openapi31", lambda: _document(found.openapi31(request.script_root)))
    blueprint.add_url_rule("/asyncapi.json", "asyncapi_json", lambda: _document(found.asyncapi()))
    if pages:
        add_pages(blueprint, info.title, found.asyncapi)
    if guard is not None:
        blueprint.before_request(guard)
    blueprint.after_request(_no_guessing)
    app.register_blueprint(blueprint)
    app.extensions[_EXTENSION] = found
    return found


def documentation_of(app: Flask) -> ApiDocumentation:
    """Return the documentation of an app; of one without any, what it would be."""
    found = app.extensions.get(_EXTENSION)
    if isinstance(found, ApiDocumentation):
        return found
    return ApiDocumentation(app, Info(app.name, "1.0.0"), (), lambda operation: operation)


class ApiDocumentation:
    """The documents of one app, made when they are asked for and kept until a route is added. Thread-safe."""

    def __init__(self, app: Flask, info: Info, channels: tuple[Channel, ...], refine: Refine) -> None:
        self._app, self._info, self._channels, self._refine = app, info, channels, refine
        self._made: tuple[int, dict[str, Any]] | None = None
        self._lock = threading.Lock()

    def operations(self) -> list[Operation]:
        """Return every documented operation, sorted by path and method."""
        found = operations_of(self._app, skip=lambda endpoint: endpoint.startswith(f"{NAME}."))
        return [refined for refined in map(self._refine, found) if not refined.refined.hidden]

    def openapi31(self, prefix: str = "") -> dict[str, Any]:
        """Return the OpenAPI 3.1 document of the app as a client below ``prefix`` sees it."""
        with self._lock:
            routes = len(list(self._app.url_map.iter_rules()))
            if self._made is None or self._made[0] != routes:
                self._made = routes, openapi(self._info, self.operations())
            return {**self._made[1], "servers": [{"url": prefix or "/"}]}

    def openapi(self, prefix: str = "") -> dict[str, Any]:
        """Return the OpenAPI 3.0.3 twin of the same document."""
        return to_3_0(self.openapi31(prefix))

    def asyncapi(self) -> dict[str, Any]:
        """Return the AsyncAPI 3.0 document of the WebSocket channels."""
        info = self._info
        return asyncapi(info.title, info.version, self._channels, description=info.description)


def _document(document: dict[str, Any]) -> Response:
    """Return a document as the app answers JSON."""
    return current_app.response_class(json.dumps(document, allow_nan=False), content_type="application/json")


def _no_guessing(response: Response) -> Response:
    """Tell browsers to take these answers for what they say they are."""
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
