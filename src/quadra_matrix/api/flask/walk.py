"""The URL map of an app to operations. Reads; changes nothing."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Callable, Iterator
from typing import Any

from flask import Flask
from werkzeug.routing import (
    AnyConverter,
    BaseConverter,
    FloatConverter,
    IntegerConverter,
    PathConverter,
    Rule,
    UnicodeConverter,
    UUIDConverter,
)
from werkzeug.wrappers import Response as WerkzeugResponse

from quadra_matrix.api.contract import Contract, answer_of, hints_of
from quadra_matrix.api.documented import REFINEMENT
from quadra_matrix.api.flask.problems import answers_problems
from quadra_matrix.api.flask.validated import CONTRACT
from quadra_matrix.api.operation import Operation, PathParameter, Refinement
from quadra_matrix.api.schemas import has_shape

_VARIABLE = re.compile(r"<(?:[a-zA-Z_][a-zA-Z0-9_]*(?:\(.*?\))?:)?([a-zA-Z_][a-zA-Z0-9_]*)>")
_BOUNDS = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_METHODS = ("get", "put", "post", "delete", "patch", "trace")
"""Methods in the order of the OpenAPI text. HEAD and OPTIONS are Flask's own and follow from the others."""


def operations_of(app: Flask, *, skip: Callable[[str], bool] = lambda endpoint: False) -> list[Operation]:
    """Return the operations of every route, sorted by path; static files and skipped endpoints left out."""
    found = [operation for rule in app.url_map.iter_rules() for operation in _of_rule(app, rule, skip)]
    found.sort(key=lambda operation: (operation.path, _METHODS.index(operation.method)))
    return [*_with_unique_ids(_first_of_each(found))]


def _of_rule(app: Flask, rule: Rule, skip: Callable[[str], bool]) -> Iterator[Operation]:
    """Yield the operations of one route."""
    if rule.endpoint.rpartition(".")[2] == "static" or skip(rule.endpoint):
        return
    if rule.build_only or rule.websocket or rule.redirect_to is not None:
        return
    registered = app.view_functions.get(rule.endpoint)
    if registered is None:
        return
    for method in sorted({method.lower() for method in rule.methods or ()} & set(_METHODS)):
        view = _view_of(registered, method)
        refined = getattr(view, REFINEMENT, getattr(registered, REFINEMENT, Refinement()))
        if not refined.hidden:
            yield _operation(app, rule, method, view, refined)


def _operation(app: Flask, rule: Rule, method: str, view: Callable[..., Any], refined: Refinement) -> Operation:
    """Return one operation from a route, the view behind it and what its author adds."""
    contract = getattr(view, CONTRACT, None)
    summary, description = _words(view)
    blueprint = rule.endpoint.rpartition(".")[0]
    return Operation(
        method=method,
        path=_VARIABLE.sub(r"{\1}", rule.rule),
        operation_id=refined.operation_id or rule.endpoint.replace(".", "_"),
        endpoint=rule.endpoint,
        contract=contract if contract is not None else _unchecked_contract(view),
        is_validated=contract is not None,
        answers_problems=answers_problems(app),
        parameters=tuple(_parameters(rule)),
        summary=summary,
        description=description,
        tags=refined.tags if refined.tags is not None else ((blueprint,) if blueprint else ()),
        refined=refined,
    )


def _view_of(registered: Callable[..., Any], method: str) -> Callable[..., Any]:
    """Return the function that answers one method: of a method view, the method of its class."""
    view_class = getattr(registered, "view_class", None)
    if view_class is None:
        return registered
    chosen: Callable[..., Any] = getattr(view_class, method, None) or view_class.dispatch_request
    return chosen


def _unchecked_contract(view: Callable[..., Any]) -> Contract:
    """Return what the return hint of a plain view says, as far as it has a schema."""
    kind = answer_of(hints_of(view).get("return"), raw=(WerkzeugResponse,))
    if isinstance(kind, str) or kind is None or not has_shape(kind) or _is_iterator(kind):
        return Contract()
    return Contract(response=kind)


def _is_iterator(kind: Any) -> bool:
    """Tell whether a view streams what it makes; then its hint is about the pieces."""
    origin = typing.get_origin(kind) or kind
    return isinstance(origin, type) and hasattr(origin, "__next__")


def _words(view: Callable[..., Any]) -> tuple[str | None, str | None]:
    """Return the first line of a docstring and the rest of it."""
    text = inspect.cleandoc(inspect.unwrap(view).__doc__ or "")
    first, _, rest = text.partition("\n")
    return first.strip() or None, rest.strip() or None


def _parameters(rule: Rule) -> Iterator[PathParameter]:
    """Yield the variable parts of a route, in order."""
    for name in _VARIABLE.findall(rule.rule):
        yield PathParameter(name, _schema_of(rule._converters[name]))


def _schema_of(converter: BaseConverter) -> dict[str, Any]:
    """Return the JSON Schema of the texts that a converter accepts; of an unknown one, its pattern."""
    if isinstance(converter, IntegerConverter) and not converter.fixed_digits:
        least = converter.min if converter.min is not None or converter.signed else 0
        return _bounded("integer", least, converter.max)
    if isinstance(converter, FloatConverter):
        least = converter.min if converter.min is not None or converter.signed else 0
        return _bounded("number", least, converter.max)
    if isinstance(converter, UUIDConverter):
        return {"type": "string", "format": "uuid"}
    if isinstance(converter, AnyConverter):
        options = converter.regex.removeprefix("(?:").removesuffix(")").split("|")
        return {"type": "string", "enum": [re.sub(r"\\(.)", r"\1", option) for option in options]}
    if isinstance(converter, PathConverter):
        return {"type": "string", "minLength": 1}
    if isinstance(converter, UnicodeConverter):
        return _text(converter.regex)
    return {"type": "string", "pattern": f"^(?:{converter.regex})$"}


def _bounded(kind: str, least: float | None, most: float | None) -> dict[str, Any]:
    """Return the schema of a number between two bounds."""
    bounds = {"minimum": least, "maximum": most}
    return {"type": kind, **{name: bound for name, bound in bounds.items() if bound is not None}}


def _text(regex: str) -> dict[str, Any]:
    """Return the schema of a text without slashes whose length Werkzeug wrote into a pattern."""
    found = _BOUNDS.search(regex)
    least, most = (found[1], found[2]) if found else ("1", "")
    longest = least if found and found[2] is None else most
    return {
        "type": "string",
        "pattern": "^[^/]*$",
        "minLength": int(least),
        **({"maxLength": int(longest)} if longest else {}),
    }


def _first_of_each(operations: list[Operation]) -> list[Operation]:
    """Return the operations without those whose method and path another route answers first."""
    return list({(operation.path, operation.method): operation for operation in reversed(operations)}.values())[::-1]


def _with_unique_ids(operations: list[Operation]) -> Iterator[Operation]:
    """Yield the operations with ids of their own: the endpoint, its method if it has several, a number at worst."""
    taken: set[str] = set()
    endpoints = [operation.operation_id for operation in operations]
    for operation in operations:
        name = operation.operation_id
        if endpoints.count(name) > 1:
            name = f"{name}_{operation.method}"
        number, chosen = 2, name
        while chosen in taken:
            chosen, number = f"{name}_{number}", number + 1
        taken.add(chosen)
        yield dataclasses.replace(operation, operation_id=chosen)
