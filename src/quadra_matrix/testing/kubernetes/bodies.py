"""The body of a request, as JSON or YAML."""

from __future__ import annotations

import json
from typing import Any

from quadra_matrix.errors import MissingExtra
from quadra_matrix.testing.kubernetes.objects import Json
from quadra_matrix.testing.kubernetes.problems import bad_request, unsupported_media
from quadra_matrix.testing.kubernetes.requests import Request

JSON_TYPES = ("application/json", "application/yaml")


def json_body(request: Request) -> Json:
    """Return the object in a request's body. Raises a 400 for another thing, a 415 for another type."""
    if request.media_type not in JSON_TYPES:
        raise unsupported_media(request.media_type, JSON_TYPES)
    found = any_body(request)
    if not isinstance(found, dict):
        raise bad_request("the object provided is unrecognized: it is no JSON object")
    return found


def any_body(request: Request) -> Any:
    """Return what stands in a request's body. Raises a 400."""
    try:
        return json.loads(request.body)
    except ValueError as broken:
        if not request.media_type.endswith("yaml"):
            raise bad_request(f"the object provided is unrecognized: {broken}") from broken
    return _yaml(request.body)


def _yaml(body: bytes) -> Any:
    """Return what YAML holds: server-side apply may send it."""
    try:
        import yaml
    except ImportError as missing:
        raise MissingExtra("pyyaml", "testing") from missing
    try:
        return yaml.safe_load(body)
    except yaml.YAMLError as broken:
        raise bad_request(f"error decoding YAML: {broken}") from broken
