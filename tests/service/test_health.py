"""Probes get true answers, at once, without secrets."""

from __future__ import annotations

from pathlib import Path

import pytest
from flask.testing import FlaskClient

from quadra_matrix import __version__
from quadra_matrix.errors import QuadraError
from quadra_matrix.service.app import create_app
from quadra_matrix.service.health import OK, Check, Checked, Finding, State, examine
from quadra_matrix.service.jobs.__main__ import BEAT
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.testing import FakeClock
from tests.services.process import free_port
from tests.services.redis import redis_server


def client(settings: Settings, clock: FakeClock | None = None) -> FlaskClient:
    return create_app(settings, clock=clock or FakeClock()).test_client()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Options of a service whose database is up to date."""
    made = Settings(data_dir=tmp_path)
    database = Database(made.database_url)
    upgrade(database)
    database.close()
    return made


def failing() -> Finding:
    raise QuadraError("the reason, with an address")


@pytest.mark.parametrize(
    ("needed", "watched", "verdict"),
    [
        ([], [], State.OK),
        ([State.OK], [State.OK], State.OK),
        ([State.OK], [State.WAITING], State.DEGRADED),
        ([State.OK], [State.OK, State.FAILED], State.DEGRADED),
        ([State.OK, State.WAITING], [State.FAILED], State.WAITING),
        ([State.WAITING, State.FAILED, State.OK], [State.OK], State.FAILED),
    ],
)
def test_the_verdict_is_the_worst_state_of_what_requests_need(
    needed: list[State], watched: list[State], verdict: State
) -> None:
    def checks(states: list[State], name: str) -> dict[str, Check]:
        return {f"{name} {number}": lambda state=state: Finding(state) for number, state in enumerate(states)}  # type: ignore[misc]

    report = examine(checks(needed, "needed"), checks(watched, "watched"))

    assert report.state is verdict
    assert report.answers == (set(needed) <= {State.OK})
    assert len(report.checks) == len(needed) + len(watched)


def test_a_check_is_timed() -> None:
    clock = FakeClock()

    def slow() -> Finding:
        clock.advance(0.5)
        return OK

    assert examine({"slow": slow}, clock=clock).checks["slow"] == Checked(State.OK, None, 0.5)


def test_a_check_that_raises_has_failed_and_only_the_log_says_why(caplog: pytest.LogCaptureFixture) -> None:
    report = examine({"database": failing, "other": lambda: OK})

    assert report.state is State.FAILED
    assert report.checks["database"].detail == "QuadraError; the log says more"
    assert report.checks["other"].state is State.OK
    assert "database failed: the reason, with an address" in caplog.text


def test_a_bug_in_a_check_is_not_called_ill_health() -> None:
    with pytest.raises(ZeroDivisionError):
        examine({"broken": lambda: Finding(State(str(1 // 0)))})


def test_health_tells_version_uptime_and_every_check(settings: Settings) -> None:
    clock = FakeClock()
    asked = client(settings, clock)
    clock.advance(12)

    answer = asked.get("/health")

    assert (answer.status_code, answer.json["status"]) == (200, "degraded"), "no job runner runs here"
    assert (answer.json["version"], answer.json["uptime"]) == (__version__, 12)
    states = {name: check["state"] for name, check in answer.json["checks"].items()}
    assert states == {"service": "ok", "database": "ok", "model": "ok", "jobs": "failed"}
    assert answer.json["checks"]["model"]["detail"].startswith("there is no ")


def test_a_job_runner_that_works_is_well(settings: Settings) -> None:
    clock = FakeClock()
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    (settings.run_dir / BEAT).write_text(repr(clock.now()))
    asked = client(settings, clock)

    well = asked.get("/health").json
    clock.advance(31)
    silent = asked.get("/health").json

    assert (well["status"], well["checks"]["jobs"]["state"]) == ("ok", "ok")
    assert (silent["status"], silent["checks"]["jobs"]["state"]) == ("degraded", "failed")


def test_a_database_without_tables_is_not_ready_and_the_log_says_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = client(Settings(data_dir=tmp_path / "new")).get("/health/ready")

    assert (answer.status_code, answer.json["checks"]["model"]["detail"]) == (503, "TablesMissing; the log says more")
    assert "quadra db upgrade" in caplog.text


def test_a_database_that_is_away_is_not_ready_but_alive(settings: Settings) -> None:
    address = f"postgresql://me:hunter2@127.0.0.1:{free_port()}/name"
    asked = client(settings.model_copy(update={"database_url": address}))

    ready, alive = asked.get("/health/ready"), asked.get("/health/live")

    assert (ready.status_code, ready.json["status"]) == (503, "failed")
    assert ready.json["checks"]["database"]["detail"] == "DatabaseUnavailable; the log says more"
    assert (alive.status_code, alive.json) == (200, {"status": "ok"})


def test_a_service_that_stops_is_not_ready_but_alive(settings: Settings) -> None:
    asked = client(settings)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    settings.stopping_file.touch()

    assert (asked.get("/health/ready").status_code, asked.get("/health/live").status_code) == (503, 200)
    assert asked.get("/health").json["checks"]["service"]["detail"] == "the service stops"


def test_a_redis_that_is_away_degrades_the_service_and_requests_go_on(settings: Settings, tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        asked = client(settings.model_copy(update={"redis_url": redis.url}))
        up = asked.get("/health")
    down, ready = asked.get("/health"), asked.get("/health/ready")

    assert (up.status_code, up.json["checks"]["redis"]["state"]) == (200, "ok")
    assert (down.status_code, down.json["status"], down.json["checks"]["redis"]["state"]) == (200, "degraded", "failed")
    assert (ready.status_code, ready.json["status"]) == (200, "ok")


def test_metrics_count_requests_of_all_workers(settings: Settings) -> None:
    first, second = client(settings), client(settings)
    first.get("/health/live", buffered=True)  # counted when it was read
    first.get("/nowhere", buffered=True)

    answer = second.get("/metrics")

    assert answer.content_type.startswith("text/plain; version=0.0.4")
    assert 'quadra_http_requests_total{method="GET",route="/health/live",status="200"} 1.0' in answer.text
    assert 'quadra_http_requests_total{method="GET",route="(none)",status="404"} 1.0' in answer.text
    assert 'quadra_training_jobs{state="running"} 0.0' in answer.text


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5,*/*;q=0.1", "application/openmetrics-text"),
        ("text/plain;version=0.0.4", "text/plain"),
        ("*/*", "text/plain"),
        ("nonsense/;;q=", "text/plain"),
    ],
)
def test_metrics_are_in_the_format_that_the_scraper_asks_for(settings: Settings, accept: str, media: str) -> None:
    answer = client(settings).get("/metrics", headers={"Accept": accept})

    assert (answer.status_code, answer.mimetype, "accept" in answer.vary) == (200, media, True)
    assert answer.data.endswith(b"# EOF\n") == (media != "text/plain")


def test_an_unknown_path_is_answered_with_a_problem(settings: Settings) -> None:
    answer = client(settings).get("/nowhere")

    assert (answer.status_code, answer.content_type) == (404, "application/problem+json")
