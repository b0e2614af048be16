"""A job's spans: one for the job, one for each phase, in the trace that the job carries."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from quadra_matrix.service.jobs.assignment import Assignment
from quadra_matrix.service.jobs.spans import in_its_trace
from quadra_matrix.service.settings import Settings
from quadra_matrix.service.watching import ids_of_job
from quadra_matrix.storage.sql import Database
from quadra_matrix.store import Job
from quadra_matrix.telemetry.environment import tracing_options
from quadra_matrix.telemetry.otel import Tracing
from quadra_matrix.telemetry.span import Span

CARRIED = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
UNSAMPLED = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"}


def trains(task: Assignment) -> Mapping[str, Any]:
    for phase, fraction in (("loading", 0.0), ("fitting", 0.2), ("fitting", 0.6), ("publishing", 0.9)):
        task.report(phase, fraction, {})
    return {"done": True}


def breaks(task: Assignment) -> Mapping[str, Any]:
    task.report("loading", 0.0, {})
    task.report("fitting", 0.2, {})
    raise RuntimeError("postgresql://me:hunter2@db is away")


def reports_nothing(task: Assignment) -> Mapping[str, Any]:
    return {}


def spans_of(work: Any, tmp_path: Path, carried: Mapping[str, str] | None) -> tuple[list[Span], list[str]]:
    """Do the work of a job that carries a trace; return its finished spans and the phases that it reported."""
    finished: list[Span] = []
    reported: list[str] = []
    tracing = Tracing(tracing_options({"TRACING_EXPORTER": "embedded"}), deliver=finished.extend)
    settings = Settings(data_dir=tmp_path)
    with contextlib.closing(Database(settings.database_url)) as database:
        task = Assignment("j", {}, settings, database, lambda phase, fraction, metrics: reported.append(phase))
        job = Job("j", "train", created=10.0, started=12.5, carried=carried)
        with contextlib.suppress(RuntimeError):
            in_its_trace(work, job, tracing)(task)
    assert tracing.close(10)
    return finished, reported


def test_each_phase_is_a_span_of_the_job_in_the_trace_that_it_carries(tmp_path: Path) -> None:
    spans, reported = spans_of(trains, tmp_path, CARRIED)

    *phases, job = spans
    assert reported == ["loading", "fitting", "fitting", "publishing"]
    assert [phase.name for phase in phases] == ["loading", "fitting", "publishing"]
    assert {phase.parent_id for phase in phases} == {job.span_id}
    assert (job.name, job.trace_id, job.parent_id) == ("job train", CARRIED["traceparent"][3:35], "00f067aa0ba902b7")
    assert job.attributes == {"quadra.job.id": "j", "quadra.job.kind": "train", "quadra.job.waited": 2.5}
    assert all(before.end <= after.start for before, after in itertools.pairwise(phases))


def test_a_job_that_breaks_says_where_and_why(tmp_path: Path) -> None:
    (loading, fitting, job), _ = spans_of(breaks, tmp_path, CARRIED)

    assert loading.error is None
    assert fitting.error == job.error == "RuntimeError: postgresql://***@db is away"
    assert fitting.events[0].attributes["exception.type"] == "RuntimeError"


@pytest.mark.parametrize("carried", [None, {}, {"traceparent": "junk"}], ids=["none", "empty", "junk"])
def test_a_job_that_carries_no_trace_begins_one(tmp_path: Path, carried: Mapping[str, str] | None) -> None:
    (job,), _ = spans_of(reports_nothing, tmp_path, carried)

    assert job.parent_id is None


def test_a_job_of_an_unrecorded_request_is_not_recorded(tmp_path: Path) -> None:
    spans, reported = spans_of(trains, tmp_path, UNSAMPLED)

    assert (spans, reported[-1]) == ([], "publishing")


def test_lines_of_a_job_name_the_trace_also_outside_of_its_spans() -> None:
    assert ids_of_job(CARRIED)() == {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736"}
    assert ids_of_job({})() == {}
