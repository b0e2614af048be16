"""A small shop: the app that the documentation tests look at. Plain Flask beside validated views."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from flask import Blueprint, Flask, Response, abort, request
from flask.views import MethodView
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

from quadra_matrix.api.asyncapi import Channel
from quadra_matrix.api.flask import documented, setup_api_documentation, setup_problem_errors, validated
from quadra_matrix.api.flask.documentation import ApiDocumentation
from quadra_matrix.api.problem import Problem

KEY = "sesame"


class Item(BaseModel):
    """One thing that is for sale."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: Annotated[str, Field(min_length=1, max_length=80)]
    """What it says on the box."""
    price: Annotated[float, Field(gt=0, le=1e6)]
    """Euro."""
    tags: Annotated[list[str], Field(max_length=5)] = []
    note: str | None = None


class Stored(Item):
    """An item with its number."""

    number: int


class Search(BaseModel):
    limit: Annotated[int, Field(ge=1, le=100)] = 10
    """Items to return."""
    tag: list[str] = []
    cheap: bool = False


class Place(BaseModel):
    number: Annotated[int, Field(ge=1, le=1000)]


class Trace(BaseModel):
    x_caller: Annotated[str, Field(max_length=40, pattern="^[a-z]*$")] = "nobody"


class Weather(TypedDict):
    city: str
    celsius: float | None


class Rose(BaseModel):
    """The price of an item has changed."""

    kind: Literal["rose"] = "rose"
    item: Item


class Watch(BaseModel):
    """Ask to hear about an item."""

    kind: Literal["watch"] = "watch"
    number: int


EXAMPLES = {
    "pen": {"name": "pen", "price": 1.5},
    "everything": {"name": "a", "price": 1, "tags": ["b"], "note": None},
}
HOSTILE = """List what is for sale.

Sorted by <script>window.hacked = 1</script> number. [Click](javascript:window.hacked=2)
<img src=x onerror="window.hacked=3">
"""
CHANNELS = (Channel("/ws/prices", sends=(Rose,), receives=(Watch,), summary="Prices as they change."),)


def make_app(*, hostile: bool = False, **options: Any) -> tuple[Flask, ApiDocumentation]:
    app = Flask("shop")
    setup_problem_errors(app)
    found = setup_api_documentation(
        app,
        title="Shop",
        version="2.1.0",
        channels=CHANNELS,
        security_schemes={"key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}},
        **options,
    )
    add_validated(app)
    app.register_blueprint(plain_blueprint())
    if hostile:
        app.view_functions["find"].__wrapped__.__doc__ = HOSTILE
    return app, found


def add_validated(app: Flask) -> None:
    @app.get("/items")
    @validated
    def find(query: Search, headers: Trace) -> list[Stored]:
        """List what is for sale.

        Sorted by number.
        """
        return [Stored(number=n, name="pen", price=1) for n in range(min(query.limit, 3))]

    @app.post("/items")
    @documented(tags=["items"], examples=EXAMPLES)
    @validated(status=201, responses={409: Problem})
    def add(body: Item) -> Stored:
        """Offer an item."""
        if body.name == "taken":
            abort(409, "there is one already")
        return Stored(number=1, **body.model_dump())

    class One(MethodView):
        @validated
        def get(self, path: Place) -> Stored:
            """Look at one item."""
            return Stored(number=path.number, name="pen", price=2)

        @documented(security=["key"], deprecated=True, responses={204: None})
        @validated(response=None, status=204)
        def delete(self, path: Place) -> tuple[str, int]:
            """Take an item off."""
            if request.headers.get("X-Api-Key") != KEY:
                abort(401)
            return "", 204

    app.add_url_rule("/items/<int:number>", view_func=One.as_view("item"))


def plain_blueprint() -> Blueprint:
    """Views that know nothing of Quadra Matrix."""
    plain = Blueprint("plain", __name__, url_prefix="/plain")

    @plain.route("/weather/<city>")
    def weather(city: str) -> Weather:
        """Tell the weather of a city."""
        return {"city": city, "celsius": 21.5}

    @plain.route("/files/<path:name>", methods=["GET", "PUT"])
    def file(name: str) -> str:
        return name

    @plain.route("/by-id/<uuid:number>/<any(red, 'dark blue'):colour>/<string(length=2):country>")
    def by_id(number: uuid.UUID, colour: str, country: str) -> Response:
        return Response(f"{number} {colour} {country}", mimetype="text/plain")

    return plain


def only_app() -> Flask:
    return make_app()[0]
