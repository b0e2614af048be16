"""The documents and the pages that show them: Swagger UI, ReDoc and the WebSocket messages."""

from __future__ import annotations

import functools
import importlib.util
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, current_app, request, send_file, url_for
from markupsafe import Markup

from quadra_matrix.errors import MissingExtra

STATIC = Path(__file__).parent.parent / "static"
_REDOC = "flask_openapi3_redoc/templates/redoc/js/redoc.standalone.js"
_SWAGGER = "flask_openapi3_swagger/templates/swagger"
_FILES = {
    "swagger-ui.css": f"{_SWAGGER}/css/swagger-ui.css",
    "swagger-ui-bundle.js": f"{_SWAGGER}/js/swagger-ui-bundle.js",
    "redoc.standalone.js": _REDOC,
}
"""Files of the user interfaces inside the packages that carry them; nothing else of those packages is used."""

_SELF = "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
_SWAGGER_POLICY = f"{_SELF}; img-src 'self' data:; style-src 'self'; frame-ancestors 'none'"
REDOC_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=' 'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='"
)
"""ReDoc makes two style elements without its nonce: an empty one and one for its scroll bars."""
_MESSAGES_POLICY = (
    "default-src 'none'; img-src data:; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

_OUTSIDE_IMAGE = b"https://cdn.redoc.ly/redoc/logo-mini.svg"
"""The one address of another host that ReDoc asks for; the test looks for more."""


def package_file(name: str) -> Path:
    """Return where the file of a user interface lies; raises MissingExtra without the package that carries it."""
    package = _FILES[name].partition("/")[0]
    found = importlib.util.find_spec(package)  # finds without importing: the package itself is not used
    if found is None or not found.submodule_search_locations:
        raise MissingExtra(package, "docs")
    return Path(found.submodule_search_locations[0]).parent / _FILES[name]


def add_pages(blueprint: Blueprint, title: str, messages: Callable[[], dict[str, Any]]) -> None:
    """Add the three pages and their files to a blueprint; refuses at once where the files are not installed."""
    for name in _FILES:
        package_file(name)
    blueprint.add_url_rule("/docs", "docs", lambda: _swagger(title))
    blueprint.add_url_rule("/redoc", "redoc", lambda: _redoc(title))
    blueprint.add_url_rule("/asyncapi", "asyncapi", lambda: _messages(messages()))
    blueprint.add_url_rule("/docs/ui/<any(" + ",".join(f"'{name}'" for name in _FILES) + "):name>", "ui", _ui_file)
    blueprint.add_url_rule("/docs/own/<any('swagger-start.js','redoc-start.js','pages.css'):name>", "own", _own_file)


def _swagger(title: str) -> Response:
    """Return the page of Swagger UI."""
    head = Markup('<link rel="stylesheet" href="{}">').format(_at("ui", "swagger-ui.css"))
    scripts = Markup('<script src="{}"></script><script src="{}"></script>').format(
        _at("ui", "swagger-ui-bundle.js"), _at("own", "swagger-start.js")
    )
    return _page(title, head, Markup('<div id="ui"></div>') + scripts, _SWAGGER_POLICY)


def _redoc(title: str) -> Response:
    """Return the page of ReDoc."""
    nonce = secrets.token_urlsafe(18)
    scripts = Markup('<script src="{}" nonce="{}"></script><script src="{}"></script>').format(
        _at("own", "redoc-start.js"), nonce, _at("ui", "redoc.standalone.js")
    )
    policy = f"{_SELF}; img-src 'self' data:; style-src 'self' 'nonce-{nonce}' {REDOC_STYLES}; frame-ancestors 'none'"
    return _page(title, Markup(""), Markup('<div id="ui"></div>') + scripts, policy)


def _messages(document: dict[str, Any]) -> Response:
    """Return the page of the WebSocket messages: no script at all."""
    head = Markup("<h1>{} <small>{}</small></h1>").format(document["info"]["title"], document["info"]["version"])
    body = head + Markup("").join(_channel(document, channel) for channel in document["channels"].values())
    return _page(
        document["info"]["title"], Markup(""), Markup('<main class="messages">{}</main>').format(body), _MESSAGES_POLICY
    )


def _channel(document: dict[str, Any], channel: dict[str, Any]) -> Markup:
    """Return one channel with its messages."""
    ways = {
        reference["$ref"].rsplit("/", 1)[1]: operation["action"]
        for operation in document["operations"].values()
        for reference in operation["messages"]
        if reference["$ref"].startswith(operation["channel"]["$ref"] + "/")
        and document["channels"][operation["channel"]["$ref"].rsplit("/", 1)[1]] is channel
    }
    rows = Markup("").join(_message(document, name, ways.get(name, "send")) for name in channel["messages"])
    return Markup("<h2>{}</h2><p>{}</p>{}").format(channel["address"], channel.get("summary", ""), rows)


def _message(document: dict[str, Any], name: str, way: str) -> Markup:
    """Return one message with its fields."""
    message = document["components"]["messages"][name]
    schema = document["components"]["schemas"].get(message["payload"].get("$ref", "").rsplit("/", 1)[-1], {})
    sender = "from the service" if way == "send" else "from the client"
    rows = Markup("").join(
        Markup("<tr><td><code>{}</code></td><td><code>{}</code></td><td>{}</td></tr>").format(
            field, _type_of(found), found.get("description", "")
        )
        for field, found in schema.get("properties", {}).items()
    )
    return Markup('<h3 id="{0}">{0} <span class="way">{1}</span></h3><p>{2}</p><table>{3}</table>').format(
        name, sender, message.get("summary", ""), rows
    )


def _type_of(schema: dict[str, Any]) -> str:
    """Return the short name of a field's type."""
    if "$ref" in schema:
        return str(schema["$ref"].rsplit("/", 1)[1])
    if "anyOf" in schema:
        return " or ".join(_type_of(option) for option in schema["anyOf"])
    if "const" in schema:
        return repr(schema["const"])
    if schema.get("type") == "array":
        return f"list of {_type_of(schema.get('items', {}))}"
    return str(schema.get("format") or schema.get("type") or "any")


def _page(title: str, head: Markup, body: Markup, policy: str) -> Response:
    """Return a page with a content policy of its own."""
    html = Markup(
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        '<link rel="stylesheet" href="{}">{}</head><body data-spec="{}">{}</body></html>'
    ).format(title, _at("own", "pages.css"), head, url_for(".openapi"), body)
    response = current_app.response_class(str(html), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = policy
    return response


def _at(endpoint: str, name: str) -> str:
    """Return the address of a file of these pages."""
    return url_for(f".{endpoint}", name=name)


def _own_file(name: str) -> Response:
    """Return a file of ours."""
    return send_file(STATIC / name, max_age=0)


def _ui_file(name: str) -> Response:
    """Return a file of a user interface; ReDoc's without the address of the image on another host."""
    if name != "redoc.standalone.js":
        return send_file(package_file(name), max_age=0)
    response = current_app.response_class(_redoc_script(), content_type="text/javascript; charset=utf-8")
    response.add_etag()
    response.make_conditional(request)
    return response


@functools.cache
def _redoc_script() -> bytes:
    """Return ReDoc with the outside image replaced by an empty one; 940 KB, kept after the first request."""
    return package_file("redoc.standalone.js").read_bytes().replace(_OUTSIDE_IMAGE, b"data:,")
