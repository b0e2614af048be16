"""A bucket of a histogram leads to a trace: the newest recorded one, of any process, in OpenMetrics alone."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from quadra_matrix.telemetry.durations import EVERY, PARTS, Exemplar, Exemplars, newest
from quadra_matrix.telemetry.flask import setup_distributed_tracing
from quadra_matrix.telemetry.series import Metrics
from quadra_matrix.telemetry.shared import SharedSeries
from quadra_matrix.testing import FakeClock

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
LARGEST = 2**128 - 1


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    opened = Metrics(tmp_path)
    yield opened
    opened.close()


def examples(metrics: Metrics) -> dict[str, Any]:
    """Return the exemplar of each bucket that has one, by its upper bound, as a scraper reads them."""
    text, content_type = metrics.exposition(OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    families = text_string_to_metric_families(text.decode())
    samples = [sample for family in families for sample in family.samples]
    return {sample.labels["le"]: sample.exemplar for sample in samples if sample.exemplar}


def count_in_a_process(folder: Path, trace_id: int) -> None:
    metrics = Metrics(folder)
    metrics.request("GET", "/", 200, 0.2, trace_id)
    metrics.close()


@pytest.mark.parametrize("trace_id", [1, TRACE, LARGEST, 1 << 127])
def test_a_recorded_request_is_the_example_of_its_bucket(metrics: Metrics, trace_id: int) -> None:
    metrics.request("GET", "/", 200, 0.003, trace_id)
    metrics.request("GET", "/", 200, 0.2)

    found = examples(metrics)

    assert list(found) == ["0.005"]
    assert found["0.005"].labels == {"trace_id": f"{trace_id:032x}"}
    assert found["0.005"].value == 0.003


def test_the_text_format_has_none(metrics: Metrics) -> None:
    metrics.request("GET", "/", 200, 0.003, TRACE)

    assert b"trace_id" not in metrics.exposition("text/plain")[0]


def test_an_example_of_any_process_is_shown_by_all(metrics: Metrics, tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=count_in_a_process, args=(tmp_path, TRACE))
    child.start()
    child.join(60)

    assert examples(metrics)["0.25"].labels == {"trace_id": f"{TRACE:032x}"}


def test_a_hundred_routes_of_hostile_traffic_stay_readable(metrics: Metrics) -> None:
    for number in range(100):
        metrics.request("GET", f'/{number}/"\\\n', 200, 0.0001 * number, TRACE + number)

    assert examples(metrics)


class Kept:
    """The examples of two buckets."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.series = SharedSeries(folder)
        self.exemplars = Exemplars(self.series, ["below", "above"], self.clock)

    def read(self) -> dict[str, Exemplar]:
        numbers = self.exemplars.numbers
        places = zip(self.exemplars.keys, self.exemplars.places, strict=True)
        return newest((key, numbers[place], numbers[place + 1]) for key, place in places)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    opened = Kept(tmp_path)
    yield opened
    opened.series.close()


def test_a_bucket_takes_one_example_a_second(kept: Kept) -> None:
    kept.exemplars.keep(0, 0.1, 1)
    kept.clock.advance(EVERY / 2)
    kept.exemplars.keep(0, 0.2, 2)
    kept.exemplars.keep(1, 0.9, 3)
    first = kept.read()
    kept.clock.advance(EVERY)
    kept.exemplars.keep(0, 0.3, 4)

    assert {key: example.seconds for key, example in first.items()} == {"below": 0.1, "above": 0.9}
    assert (kept.read()["below"].trace_id, kept.read()["below"].seconds) == (f"{4:032x}", 0.3)


def test_an_example_that_is_half_written_is_not_shown(kept: Kept) -> None:
    kept.exemplars.keep(0, 0.1, 1)
    kept.exemplars.numbers[kept.exemplars.places[0] + 1] += 1.0

    assert kept.read() == {}


@given(st.integers(1, LARGEST), st.floats(0, 1e6), st.floats(1.0, 4e9), st.floats(1.0, 4e9))
def test_the_newest_of_all_files_is_shown(trace_id: int, seconds: float, one: float, other: float) -> None:
    def entries(trace_id: int, at: float) -> list[tuple[str, float, float]]:
        mask = (1 << 43) - 1
        doubles = [(seconds, at), (float(trace_id >> 86), float(trace_id >> 43 & mask)), (float(trace_id & mask), at)]
        return [("bucket" + part, *pair) for part, pair in zip(PARTS, doubles, strict=True)]

    found = newest([*entries(trace_id, one), *entries(LARGEST - trace_id, other)])

    assert found["bucket"] == Exemplar(
        f"{trace_id if one >= other else LARGEST - trace_id:032x}", seconds, max(one, other)
    )


def test_a_traced_request_is_an_example_and_an_unrecorded_one_is_not(metrics: Metrics) -> None:
    app = Flask("shop")
    app.get("/")(lambda: "hello")
    tracing = setup_distributed_tracing(app, "embedded", deliver=lambda spans: None, counts=metrics, environ={})
    client = app.test_client()

    client.get("/", headers={"traceparent": f"00-{TRACE + 1:032x}-00f067aa0ba902b7-00"}, buffered=True)
    assert examples(metrics) == {}
    client.get("/", headers={"traceparent": f"00-{TRACE:032x}-00f067aa0ba902b7-01"}, buffered=True)
    tracing.close()

    (example,) = examples(metrics).values()
    assert example.labels == {"trace_id": f"{TRACE:032x}"}
