"""``setup_cors``: pages of other origins may call an application if they are on its list."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask, Response
from flask.globals import request_ctx

from quadra_matrix.access.cors import Cors, CorsOptions

PREFLIGHT = "HTTP_ACCESS_CONTROL_REQUEST_METHOD"
ASKED_FIRST = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"


def setup_cors(
    app: Flask, origins: Iterable[str] = (), *, credentials: bool = False, options: CorsOptions | None = None
) -> None:
    """Let pages of ``origins`` call ``app``; a browser refuses those of all others, errors included.

    Every answer says ``Vary: Origin``, so that no cache gives one page the answer of another. A preflight is answered
    for the methods of its route, before anybody asks for a credential or counts. ``credentials`` lets pages send
    cookies, and is refused together with the origin ``*``. ``options`` replaces both, and says more.
    """
    cors = Cors(options or CorsOptions(tuple(origins), credentials))

    def answer_preflight() -> Response | None:
        asked = request_ctx.request
        if asked.method != "OPTIONS" or PREFLIGHT not in asked.environ or "HTTP_ORIGIN" not in asked.environ:
            return None
        adapter = request_ctx.url_adapter
        methods = adapter.allowed_methods() if adapter is not None else ()
        if not methods:
            return None  # no such route: 404 is the answer
        answer = app.response_class(status=204)
        answer.headers.extend(cors.preflight(asked.environ["HTTP_ORIGIN"], methods))
        answer.headers["Vary"] = ASKED_FIRST
        return answer

    def allow(response: Response) -> Response:
        if "Access-Control-Max-Age" not in response.headers:
            response.headers.extend(cors.answer(request_ctx.request.environ.get("HTTP_ORIGIN")))
            _vary(response)
        return response

    app.before_request_funcs.setdefault(None, []).insert(0, answer_preflight)
    app.after_request(allow)


def _vary(response: Response) -> None:
    """Say that the answer depends on the origin; what else it depends on stays."""
    headers = response.headers
    if "Vary" not in headers:
        headers["Vary"] = "Origin"
    elif "Origin" not in response.vary and "*" not in response.vary:
        response.vary.add("Origin")
