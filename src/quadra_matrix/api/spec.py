"""Operations to an OpenAPI 3.1 document; ``downgrade`` writes the 3.0.3 twin of it."""

from __future__ import annotations

import http
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from quadra_matrix.api.contract import allows_none
from quadra_matrix.api.operation import Info, Operation, Refinement
from quadra_matrix.api.problem import MEDIA_TYPE, Problem
from quadra_matrix.api.schemas import Components, Use, components_of, reachable, resolve

JSON = "application/json"
_TEXT: dict[Any, tuple[str, dict[str, Any]]] = {
    str: ("text/html", {"type": "string"}),
    bytes: ("application/octet-stream", {"type": "string", "format": "binary"}),
}
"""Types whose answers are not JSON: media type and schema."""

_DESCRIPTIONS = {
    400: "The body is not valid JSON.",
    413: "The body is too large.",
    415: "The body is of a media type that is not taken.",
    422: "The request does not fit its schema.",
    500: "The service failed; the trace id finds out why.",
}


def openapi(info: Info, operations: Sequence[Operation], *, server: str = "/") -> dict[str, Any]:
    """Return the OpenAPI 3.1 document of the operations, served below the ``server`` path."""
    components = components_of(_uses(info, operations))
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, components)
    kept = reachable(components.named, [paths, *(components[Use(kind, True)] for kind in info.schemas)])
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": _said(title=info.title, version=info.version, description=info.description),
        "servers": [{"url": server}],
        "paths": paths,
        "components": _said(schemas=kept or None, securitySchemes=dict(info.security_schemes) or None),
        "tags": [{"name": tag} for tag in sorted({tag for operation in operations for tag in operation.tags})],
    }
    return {key: value for key, value in document.items() if value or key == "paths"}


def _uses(info: Info, operations: Iterable[Operation]) -> Iterator[Use]:
    """Yield every use of a type that is written as JSON."""
    for kind in info.schemas:
        yield Use(kind, is_answer=True)
    for operation in operations:
        contract = operation.contract
        for kind in (contract.body, contract.query, contract.path, contract.headers, operation.refined.body):
            if kind is not None and kind not in _TEXT:
                yield Use(kind, is_answer=False)
        for kind in operation.answers().values():
            if kind is not None and kind not in _TEXT:
                yield Use(kind, is_answer=True)


def _operation(operation: Operation, components: Components) -> dict[str, Any]:
    """Return one Operation Object."""
    refined = operation.refined
    return _said(
        operationId=operation.operation_id,
        summary=refined.summary or operation.summary,
        description=refined.description or operation.description,
        tags=list(operation.tags) or None,
        deprecated=refined.deprecated or None,
        parameters=[*_path_parameters(operation, components), *_other_parameters(operation, components)] or None,
        requestBody=_request_body(operation, components),
        responses=_responses(operation, components),
        security=_security(refined),
    )


def _security(refined: Refinement) -> list[dict[str, list[str]]] | None:
    """Return the Security Requirement Objects; an empty one lets callers in without a credential."""
    if refined.security is None:
        return None
    asked: list[dict[str, list[str]]] = [{name: [*refined.scopes]} for name in refined.security]
    return [*asked, {}] if asked and refined.is_open else asked


def _path_parameters(operation: Operation, components: Components) -> Iterator[dict[str, Any]]:
    """Yield the variable parts of the path, as narrow as the model that reads them."""
    kind = operation.contract.path
    model = {} if kind is None else resolve(components.named, components[Use(kind, False)])["properties"]
    for parameter in operation.parameters:
        schema = dict(model.get(parameter.name, parameter.schema))
        description = schema.pop("description", None)
        yield _said(name=parameter.name, **{"in": "path"}, required=True, description=description, schema=schema)


def _other_parameters(operation: Operation, components: Components) -> Iterator[dict[str, Any]]:
    """Yield query and header parameters: one for each field of their models."""
    contract = operation.contract
    for place, kind in (("query", contract.query), ("header", contract.headers)):
        if kind is None:
            continue
        model = resolve(components.named, components[Use(kind, False)])
        for name, found in model["properties"].items():
            schema = dict(found)
            yield _said(
                name=name.replace("_", "-") if place == "header" else name,
                **{"in": place},
                required=name in model.get("required", ()) or None,
                description=schema.pop("description", None),
                deprecated=schema.pop("deprecated", None),
                schema=schema,
            )


def _request_body(operation: Operation, components: Components) -> dict[str, Any] | None:
    """Return the Request Body Object, if there is a body."""
    kind = operation.refined.body or operation.contract.body
    if kind is None:
        return None
    examples = {name: {"value": value} for name, value in operation.refined.examples.items()}
    schema = _TEXT[kind][1] if kind in _TEXT else components[Use(kind, False)]
    content = _said(schema=schema, examples=examples or None)
    media = operation.refined.body_media
    return {"required": not allows_none(kind), "content": dict.fromkeys(media, content)}


def _responses(operation: Operation, components: Components) -> dict[str, Any]:
    """Return the Responses Object; an operation that says nothing about itself says so."""
    answers = {
        str(status): _response(operation, status, kind, components) for status, kind in operation.answers().items()
    }
    known = any(int(status) < 400 for status in answers)
    return answers if known else {**answers, "default": {"description": "Whatever the view answers."}}


def _response(operation: Operation, status: int, kind: Any, components: Components) -> dict[str, Any]:
    """Return one Response Object."""
    description = _description(operation, status)
    if kind is None and not (operation.refined.media and status == operation.contract.status):
        return {"description": description}
    media: str = JSON
    schema: dict[str, Any] = {}
    if isinstance(kind, type) and issubclass(kind, Problem):
        media = MEDIA_TYPE
    if kind in _TEXT:
        media, schema = _TEXT[kind]
    elif kind is not None:
        schema = components[Use(kind, True)]
    if operation.refined.media and status == operation.contract.status:
        media = operation.refined.media
    return {"description": description, "content": {media: {"schema": schema}}}


def _description(operation: Operation, status: int) -> str:
    """Return what a status means here."""
    if status in _DESCRIPTIONS:
        return _DESCRIPTIONS[status]
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _said(**members: Any) -> dict[str, Any]:
    """Return the members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def example_requests(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, Any]]:
    """Yield method, path, name and body of every named example, for a test that sends them all."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            for media in operation.get("requestBody", {}).get("content", {}).values():
                for name, example in media.get("examples", {}).items():
                    yield method, path, name, example["value"]
