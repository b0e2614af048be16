"""The numbers are right, whichever process counted them, and Prometheus accepts them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask

from quadra_matrix.errors import DatabaseUnavailable
from quadra_matrix.events.models import AliasMoved, Predicted
from quadra_matrix.telemetry.flask import count_requests
from quadra_matrix.telemetry.prometheus import BUCKETS
from quadra_matrix.telemetry.series import Metrics, training_jobs
from quadra_matrix.telemetry.slot import Slot
from quadra_matrix.testing import FakeClock
from tests.services.process import needs

FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
"""Python 3.12 warns of a fork beside threads, as the parallel test runner has; the child touches none of them."""


@pytest.fixture
def metrics(tmp_path: Path) -> Iterator[Metrics]:
    opened = Metrics(tmp_path / "metrics", (training_jobs(lambda: {"queued": 2, "running": 1}),))
    yield opened
    opened.close()


def read(metrics: Metrics) -> dict[str, float]:
    """Return every sample of the exposition by its name and labels as written."""
    lines = metrics.exposition()[0].decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def count_in_a_process(folder: Path, times: int, die: bool) -> None:
    metrics = Metrics(folder)
    for _ in range(times):
        metrics.request("GET", "/", 200, 0.01)
    if die:
        os.kill(os.getpid(), signal.SIGKILL)


def test_requests_are_counted_by_method_route_and_status(metrics: Metrics) -> None:
    metrics.request("GET", "/items/<item>", 200, 0.003)
    metrics.request("GET", "/items/<item>", 200, 0.004)
    metrics.request("POST", "/items/<item>", 422, 0.003)

    numbers = read(metrics)

    assert numbers['quadra_http_requests_total{method="GET",route="/items/<item>",status="200"}'] == 2
    assert numbers['quadra_http_requests_total{method="POST",route="/items/<item>",status="422"}'] == 1


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.0025"), (11.0, "+Inf")])
def test_a_duration_falls_into_its_bucket_and_all_above(metrics: Metrics, seconds: float, bucket: str) -> None:
    metrics.request("GET", "/", 200, seconds)

    numbers = read(metrics)

    name = "quadra_http_request_duration_seconds"
    found = {
        bound: numbers[f'{name}_bucket{{le="{bound}",method="GET",route="/"}}']
        for bound in [*map(str, BUCKETS), "+Inf"]
    }
    assert found == {bound: float(float(bound) >= float(bucket)) for bound in found}
    assert numbers[f'{name}_count{{method="GET",route="/"}}'] == 1
    assert numbers[f'{name}_sum{{method="GET",route="/"}}'] == seconds


def test_predictions_are_counted_by_model_and_version(metrics: Metrics) -> None:
    metrics.hear(Predicted("churn", 3, rows=50, seconds=0.01))
    metrics.hear(Predicted("churn", 3, rows=1, seconds=0.01))
    metrics.hear(AliasMoved("churn", "production", 3))

    numbers = read(metrics)

    assert numbers['quadra_predictions_total{model="churn",version="3"}'] == 2
    assert numbers['quadra_predicted_rows_total{model="churn",version="3"}'] == 51


def test_jobs_and_build_are_told(metrics: Metrics) -> None:
    numbers = read(metrics)

    assert numbers['quadra_training_jobs{state="queued"}'] == 2
    assert [value for name, value in numbers.items() if name.startswith("quadra_build_info{")] == [1]


def test_a_job_table_that_is_away_hides_only_its_own_numbers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def count() -> dict[str, int]:
        raise DatabaseUnavailable("refused")

    metrics = Metrics(tmp_path, (training_jobs(count),))
    metrics.request("GET", "/", 200, 0.01)

    numbers = read(metrics)

    assert numbers['quadra_http_requests_total{method="GET",route="/",status="200"}'] == 1
    assert not [name for name in numbers if name.startswith("quadra_training_jobs")]
    assert "quadra_training_jobs cannot be read" in caplog.text
    metrics.close()


def test_a_method_that_nobody_knows_is_one_series(metrics: Metrics) -> None:
    for number in range(50):
        metrics.request(f"MADEUP{number}", None, 405, 0.001)

    assert read(metrics)['quadra_http_requests_total{method="OTHER",route="(none)",status="405"}'] == 50


def test_threads_lose_no_count(metrics: Metrics) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: [metrics.request("GET", "/", 200, 0.01) for _ in range(200)], range(8)))

    assert read(metrics)['quadra_http_requests_total{method="GET",route="/",status="200"}'] == 1600


@FORKS
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_count_together_also_the_killed_ones(metrics: Metrics, tmp_path: Path, method: str) -> None:
    started = multiprocessing.get_context(method)
    processes = [started.Process(target=count_in_a_process, args=(tmp_path / "metrics", 10, die)) for die in (0, 1, 1)]
    metrics.request("GET", "/", 200, 0.01)

    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert read(metrics)['quadra_http_requests_total{method="GET",route="/",status="200"}'] == 31


@FORKS
def test_a_forked_child_counts_in_its_own_files(metrics: Metrics) -> None:
    def count() -> None:
        for _ in range(10):
            metrics.request("GET", "/", 200, 0.01)

    count()
    child = multiprocessing.get_context("fork").Process(target=count)
    child.start()
    count()
    child.join(60)

    assert read(metrics)['quadra_http_requests_total{method="GET",route="/",status="200"}'] == 30


def test_restarts_add_no_files_and_no_count_goes_back(tmp_path: Path) -> None:
    seen = []

    for _ in range(5):
        metrics = Metrics(tmp_path)
        metrics.request("GET", "/", 200, 0.01)
        seen.append(read(metrics)['quadra_http_requests_total{method="GET",route="/",status="200"}'])
        metrics.close()

    assert seen == [1, 2, 3, 4, 5]
    assert len(list(tmp_path.glob("*.db"))) == 2


def test_slots_are_distinct_while_held_and_free_afterwards(tmp_path: Path) -> None:
    first, second = Slot(tmp_path), Slot(tmp_path)
    first.release()
    third = Slot(tmp_path)

    assert (first.number, second.number, third.number) == (0, 1, 0)
    second.release()
    third.release()


@pytest.mark.parametrize("accept", ["", "text/plain;version=0.0.4", "application/openmetrics-text;version=1.0.0"])
def test_the_format_is_the_one_asked_for(metrics: Metrics, accept: str) -> None:
    metrics.request("GET", "/", 200, 0.01)

    text, content_type = metrics.exposition(accept)

    assert content_type.startswith(accept.split(";")[0] or "text/plain")
    assert text.endswith(b"# EOF\n") == ("openmetrics" in accept)


def test_promtool_accepts_the_exposition(metrics: Metrics) -> None:
    promtool = needs("promtool", "apt-get install prometheus")
    metrics.request("GET", '/odd"\\route\n', 200, 0.01)
    metrics.hear(Predicted("churn", 3, rows=50, seconds=0.01))

    checked = subprocess.run([promtool, "check", "metrics"], input=metrics.exposition()[0], capture_output=True)

    assert (checked.returncode, checked.stderr) == (0, b"")


@pytest.fixture
def app(metrics: Metrics) -> Flask:
    made = Flask("test")
    clock = FakeClock()
    count_requests(made, metrics, clock)

    @made.get("/items/<int:item>")
    def item(item: int) -> str:
        clock.advance(0.02)
        return str(1 // item)

    return made


def test_ten_thousand_random_paths_are_one_series(app: Flask, metrics: Metrics) -> None:
    client = app.test_client()
    client.get("/nowhere")
    before = len(read(metrics))

    for number in range(10_000):
        client.get(f"/nowhere/{number}")
    for number in range(1, 100):
        client.get(f"/items/{number}")

    numbers = read(metrics)
    assert numbers['quadra_http_requests_total{method="GET",route="(none)",status="404"}'] == 10_001
    assert numbers['quadra_http_requests_total{method="GET",route="/items/<int:item>",status="200"}'] == 99
    assert len(numbers) == before + 1 + len(BUCKETS) + 1 + 2


def test_a_view_that_raises_is_counted_with_its_time(app: Flask, metrics: Metrics) -> None:
    app.test_client().get("/items/0")

    numbers = read(metrics)
    assert numbers['quadra_http_requests_total{method="GET",route="/items/<int:item>",status="500"}'] == 1
    total = numbers['quadra_http_request_duration_seconds_sum{method="GET",route="/items/<int:item>"}']
    assert total == pytest.approx(0.02)
