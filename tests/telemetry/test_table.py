"""The one table: every event has a row, every row is sound, and each event becomes counts, a note and a log line."""

from __future__ import annotations

import importlib
import logging
import pkgutil
import string
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix import events
from quadra_matrix.events import Event
from quadra_matrix.events.breaker import CircuitOpened, CircuitStoreLost
from quadra_matrix.events.delivery import RolloutMoved
from quadra_matrix.events.experiments import ExperimentLogRecovered
from quadra_matrix.events.models import Predicted
from quadra_matrix.telemetry.labels import LONGEST, MOST, OTHER, Combinations, shown_value
from quadra_matrix.telemetry.listener import event_name
from quadra_matrix.telemetry.series import Metrics
from quadra_matrix.telemetry.table import EVENTS, METRICS, Count, Kind, Row

SAMPLES: Mapping[Any, Any] = {str: "x", int: 3, float: 0.5, bool: False, str | None: None, float | None: None}


def every_event() -> set[type[Event]]:
    names = [module.name for module in pkgutil.iter_modules(events.__path__)]
    modules = [importlib.import_module(f"{events.__name__}.{name}") for name in names]
    found = [value for module in modules for value in vars(module).values()]
    return {value for value in found if isinstance(value, type) and issubclass(value, Event)} - {Event}


def sample(kind: type[Event]) -> Event:
    """Return an event of a class with something in every field."""
    hints = get_type_hints(kind)
    return kind(**{field.name: SAMPLES.get(hints[field.name], ("x",)) for field in fields(kind)})


def by_name(row: Row) -> str:
    return row.event.__name__


Notes = list[tuple[str, Mapping[str, Any]]]


@pytest.fixture
def notes() -> Notes:
    return []


@pytest.fixture
def metrics(tmp_path: Path, notes: Notes) -> Iterator[Metrics]:
    def note(name: str, facts: Callable[[], Mapping[str, Any]]) -> None:
        notes.append((name, facts()))

    opened = Metrics(tmp_path, note=note)
    yield opened
    opened.close()


def lines(metrics: Metrics, name: str) -> list[str]:
    return [line for line in metrics.exposition()[0].decode().splitlines() if line.startswith(name)]


def test_every_event_has_one_row() -> None:
    rows = [row.event for row in EVENTS]

    assert set(rows) == every_event()
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("row", EVENTS, ids=by_name)
def test_a_row_names_fields_of_its_event_and_labels_of_its_counters(row: Row) -> None:
    known = {field.name for field in fields(row.event)}
    said = {name for _, name, _, _ in string.Formatter().parse(row.says) if name}

    assert said <= known
    assert row.counts, "an event that nothing counts cannot be watched"
    for count in row.counts:
        asked = {value for value in count.values if not value.startswith("=")}
        assert asked | ({count.amount} if count.amount else set()) <= known
        assert len(count.values) == len(count.metric.labels)
        assert count.metric.kind is Kind.COUNTER


def test_names_are_unique_and_of_one_form() -> None:
    names = [metric.name for metric in METRICS]

    assert len(names) == len(set(names))
    assert all(name.startswith("quadra_") for name in names)
    assert [m.name for m in METRICS if m.name.endswith("_total") != (m.kind is Kind.COUNTER)] == []
    assert [metric.name for metric in METRICS if not metric.help.endswith(".")] == []


def free_text(count: Count) -> set[str]:
    return {value for value in count.values if value in {"reason", "because", "errors", "peer", "serial", "detail"}}


def test_no_label_holds_words_or_addresses() -> None:
    assert {by_name(row): free_text(count) for row in EVENTS for count in row.counts if free_text(count)} == {}


@pytest.mark.parametrize("row", EVENTS, ids=by_name)
def test_each_event_is_counted_noted_and_logged(
    row: Row, metrics: Metrics, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    metrics.hear(sample(row.event))

    name = event_name(row.event)
    for count in row.counts:
        (line,) = lines(metrics, count.metric.name)
        assert float(line.rpartition(" ")[2]) == (3.0 if count.amount else 1.0)
    assert [noted for noted, _ in notes] == [name]
    (record,) = [record for record in caplog.records if getattr(record, "event", None) == name]
    assert (record.levelno, record.name) == (row.level, row.event.__module__)


def test_the_note_and_the_record_carry_the_fields_by_room(
    metrics: Metrics, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    metrics.hear(CircuitOpened("pay", "3 failures in a row", failures=3, open_for=30.0))

    ((_, facts),) = notes
    assert facts == {
        "breaker.name": "pay",
        "breaker.because": "3 failures in a row",
        "breaker.failures": 3,
        "breaker.open_for": 30.0,
        "breaker.is_shadow": False,
    }
    (record,) = caplog.records
    assert record.getMessage() == "circuit pay is open: 3 failures in a row"
    assert facts.items() <= vars(record).items()
    assert lines(metrics, "quadra_circuit_transitions") == [
        'quadra_circuit_transitions_total{circuit="pay",to="open"} 1.0'
    ]


def test_a_field_may_be_the_amount(metrics: Metrics) -> None:
    metrics.hear(Predicted("churn", 3, rows=50, seconds=0.01))
    metrics.hear(ExperimentLogRecovered(written=7, dropped=2))

    assert lines(metrics, "quadra_predicted_rows") == ['quadra_predicted_rows_total{model="churn",version="3"} 50.0']
    assert lines(metrics, "quadra_experiment_events_dropped") == ["quadra_experiment_events_dropped_total 2.0"]


def test_a_line_whose_reason_is_empty_ends_before_it(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    metrics.hear(RolloutMoved("shop", "canary", "v1", "v2", "shift", 2, because=""))

    assert caplog.messages == ["rollout shop (canary) is in shift, step 2"]


@dataclass(frozen=True, slots=True)
class Own(Event):
    """An event that an application made for itself."""

    what: str


def test_an_event_without_a_row_is_logged(metrics: Metrics, notes: Notes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    metrics.hear(Own("thing"))

    assert caplog.messages == ["Own(what='thing')"]
    assert notes == []


def test_ten_thousand_hostile_values_are_a_bounded_number_of_series(tmp_path: Path, metrics: Metrics) -> None:
    hostile = '{n}"}} 9\nquadra_http_requests_total{{method="\x00\ud800\\' + "x" * 1000

    for number in range(10_000):
        metrics.hear(CircuitStoreLost(hostile.format(n=number), "away"))

    found = lines(metrics, "quadra_circuit_store_changes_total")
    assert len(found) == MOST + 1
    assert f'quadra_circuit_store_changes_total{{circuit="{OTHER}",to="{OTHER}"}} {10_000 - MOST}.0' in found
    assert max(map(len, found)) < 400
    assert lines(metrics, "quadra_http_requests_total") == []
    assert sum(file.stat().st_size for file in tmp_path.glob("*.db")) < 4_000_000


def test_a_restart_does_not_lift_the_bound(tmp_path: Path) -> None:
    for life in range(3):
        metrics = Metrics(tmp_path)
        for number in range(MOST):
            metrics.hear(CircuitStoreLost(f"{life}-{number}", "away"))
        found = lines(metrics, "quadra_circuit_store_changes_total")
        metrics.close()

    assert len(found) == MOST + 1


def test_a_known_combination_goes_on_after_the_bound() -> None:
    kept = Combinations(("name",), lambda values: values, known=[("a",)], limit=2)

    assert [kept.of((name,)) for name in ("b", "c", "a", "b", "d")] == [("b",), (OTHER,), ("a",), ("b",), (OTHER,)]


@given(st.text(alphabet=st.characters()))
def test_a_label_value_is_short_and_one_line(text: str) -> None:
    shown = shown_value(text)

    assert len(shown) <= LONGEST
    assert shown.isprintable()
    shown.encode()
