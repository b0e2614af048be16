"""A hook that remembers what was announced."""

from __future__ import annotations

from typing import TypeVar

from quadra_matrix.events import Event

E = TypeVar("E", bound=Event)


class RecordingHook:
    """A ``Hook`` that keeps every event in order. May be shared between threads."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Keep ``event``."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of one type, oldest first."""
        return [event for event in self.events if isinstance(event, kind)]
