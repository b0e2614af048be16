"""Turns every event into what the table says: counts, an event of the current span, and a log record."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from quadra_matrix.events import Event
from quadra_matrix.telemetry.prometheus import Counter
from quadra_matrix.telemetry.shared import SharedSeries
from quadra_matrix.telemetry.table import EVENTS, Count, Row

log = logging.getLogger(__name__)

Facts = Callable[[], Mapping[str, Any]]
Note = Callable[[str, Facts], None]
"""Told the name of an event; asks for its fields only where somebody keeps them."""


def no_note(name: str, facts: Facts) -> None:
    """Keep nothing."""


class Listener:
    """The ``Hook`` behind the table. May be shared between threads; costs a count where nobody logs or traces."""

    def __init__(self, series: SharedSeries, note: Note = no_note) -> None:
        """``note`` makes an event part of the current span."""
        metrics = {count.metric.name: count.metric for row in EVENTS for count in row.counts}
        counters = {name: Counter(series, metric) for name, metric in metrics.items()}
        self._note = note
        self._rows = {row.event: _Told(row, counters) for row in EVENTS}

    def hear(self, event: Event) -> None:
        """Count, note and log one event; one of a class without a row is logged alone."""
        told = self._rows.get(type(event))
        if told is None:
            log.info("%s", event)
            return
        told.count(event)
        self._note(told.name, lambda: told.facts(event))
        told.log(event)


class _Told:
    """A row of the table, ready to be used."""

    def __init__(self, row: Row, counters: Mapping[str, Counter]) -> None:
        self.name = event_name(row.event)
        self._level, self._says = row.level, row.says
        self._counts = [(counters[count.metric.name], _values(count), count.amount) for count in row.counts]
        room = row.event.__module__.rpartition(".")[2]
        self._fields = {field.name: f"{room}.{field.name}" for field in fields(row.event)}
        self._log = logging.getLogger(row.event.__module__)

    def count(self, event: Event) -> None:
        """Add to the counters."""
        for counter, values, amount in self._counts:
            counter.add(*values(event), amount=1.0 if amount is None else float(getattr(event, amount)))

    def facts(self, event: Event) -> dict[str, Any]:
        """Return the event's fields by their full names."""
        return {told: getattr(event, field) for field, told in self._fields.items()}

    def log(self, event: Event) -> None:
        """Write the record, if its level is written."""
        if self._log.isEnabledFor(self._level):
            said = self._says.format(**{field: getattr(event, field) for field in self._fields})
            told = said.rstrip(" :").encode(errors="backslashreplace").decode()  # half a surrogate fits into no stream
            self._log.log(self._level, "%s", told, extra={"event": self.name, **self.facts(event)})


def event_name(event: type[Event]) -> str:
    """Return the name of a class of events in spans and logs.

    >>> from quadra_matrix.events.breaker import CircuitHalfOpened
    >>> event_name(CircuitHalfOpened)
    'circuit_half_opened'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", event.__name__).lower()


def _values(count: Count) -> Callable[[Event], tuple[str, ...]]:
    """Return what reads the label values of an event."""
    asked = [(value.startswith("="), value.removeprefix("=")) for value in count.values]
    return lambda event: tuple(value if is_fixed else str(getattr(event, value)) for is_fixed, value in asked)
