"""The outcomes of earlier runs, one file each."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quadra_matrix.chaos.outcome import Outcome
from quadra_matrix.files import replace_file


@cache
def _adapter() -> TypeAdapter[Outcome]:
    return TypeAdapter(Outcome)


def as_document(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as JSON values, with what follows from it."""
    document: dict[str, Any] = _adapter().dump_python(outcome, mode="json")
    for dose, values in zip(outcome.doses, document["doses"], strict=True):
        values["delivery"] = dose.delivery.value
    return {**document, "passed": outcome.verdict.is_pass, "exit": outcome.verdict.exit}


class History:
    """The outcomes below a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "history"

    def add(self, outcome: Outcome) -> None:
        """Store an outcome."""
        replace_file(self._folder / f"{outcome.run}.json", _adapter().dump_json(outcome, indent=1))

    def outcomes(self) -> list[Outcome]:
        """Return every outcome that can be read, oldest first."""
        found = []
        for path in sorted(self._folder.glob("*.json")):
            try:
                found.append(_adapter().validate_json(path.read_bytes()))
            except ValidationError:  # of another version
                continue
        return sorted(found, key=lambda outcome: outcome.started)
