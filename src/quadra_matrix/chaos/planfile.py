"""An experiment as a YAML or JSON file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quadra_matrix.chaos.faults.any import AnyFault
from quadra_matrix.chaos.model import Experiment
from quadra_matrix.errors import InvalidValue, MissingExtra


@dataclass(frozen=True, slots=True)
class Written(Experiment):
    """An experiment whose faults a file can name."""

    faults: tuple[AnyFault, ...]


@cache
def _adapter() -> TypeAdapter[Written]:
    return TypeAdapter(Written)


def load(path: Path) -> Experiment:
    """Return the experiment in a file; what the file leaves out has its default. Raises ``InvalidValue``."""
    return parse(document_in(path), str(path))


def document_in(path: Path) -> Any:
    """Return the values in a YAML or JSON file. Raises ``InvalidValue``."""
    try:
        text = path.read_text()
    except OSError as failed:
        raise InvalidValue("experiment", str(path), f"a file that can be read: {failed.strerror}") from failed
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as broken:
            raise InvalidValue("experiment", str(path), f"JSON: {broken}") from broken
    try:
        import yaml
    except ImportError as missing:
        raise MissingExtra("pyyaml", "chaos") from missing
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as broken:
        raise InvalidValue("experiment", str(path), f"YAML: {broken}") from broken


def parse(document: object, source: str = "experiment") -> Experiment:
    """Return the experiment in a parsed document. Raises ``InvalidValue`` naming the first field that is wrong."""
    try:
        return _adapter().validate_python(document)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False)[0]
        place, refused = [str(part) for part in first["loc"]], first.get("ctx", {}).get("error")
        if isinstance(refused, InvalidValue):
            raise InvalidValue(".".join([*place, refused.field]), refused.value, refused.rule) from wrong
        raise InvalidValue(".".join(place) or source, first["input"], str(first["msg"])) from wrong


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_adapter().json_schema(),
        "title": "Quadra Matrix chaos experiment",
    }
