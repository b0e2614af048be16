"""A plan as a YAML file, and the JSON Schema that editors check it with."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quadra_matrix.delivery.plan import Plan
from quadra_matrix.errors import InvalidValue, MissingExtra


@cache
def _adapter() -> TypeAdapter[Plan]:
    return TypeAdapter(Plan)


def load(path: Path) -> Plan:
    """Return the plan in a YAML file; what the file leaves out has its default. Raises ``InvalidValue``."""
    try:
        import yaml
    except ImportError as missing:
        raise MissingExtra("pyyaml", "delivery") from missing
    try:
        return parse(yaml.safe_load(path.read_text()) or {}, str(path))
    except yaml.YAMLError as broken:
        raise InvalidValue("plan", str(path), f"YAML: {broken}") from broken
    except OSError as failed:
        raise InvalidValue("plan", str(path), f"a file that can be read: {failed.strerror}") from failed


def parse(document: object, source: str = "plan") -> Plan:
    """Return the plan in a parsed document. Raises ``InvalidValue`` naming the first field that is wrong."""
    try:
        return _adapter().validate_python(document)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or source
        rule = str(first["ctx"]["error"]) if "error" in first.get("ctx", {}) else str(first["msg"])
        raise InvalidValue(field, first["input"], rule.partition("must be ")[2] or rule) from wrong


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a plan file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_adapter().json_schema(),
        "title": "Quadra Matrix rollout plan",
    }


def as_document(plan: Plan) -> dict[str, Any]:
    """Return the plan as JSON values, every default written out."""
    document: dict[str, Any] = _adapter().dump_python(plan, mode="json")
    return document
