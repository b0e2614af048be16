"""What the API room announces."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.events import Event


@dataclass(frozen=True, slots=True)
class ResponseBroke(Event):
    """An answer of a validated view broke its schema and was sent all the same."""

    endpoint: str
    errors: tuple[str, ...]
