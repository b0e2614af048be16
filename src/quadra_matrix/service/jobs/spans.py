"""A job in the trace of the request that asked for it: one span, and one within it for each phase."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from types import TracebackType
from typing import Any, Protocol

from quadra_matrix.service.jobs.assignment import Assignment, Report, Work
from quadra_matrix.store import Job


class OpenSpan(Protocol):
    """A span that goes on."""

    def set_attributes(self, attributes: Mapping[str, Any], /) -> None:
        """Say more about it."""


class Tracer(Protocol):
    """What makes the spans of a job."""

    def continue_trace(self, carried: Mapping[str, str], name: str) -> AbstractContextManager[OpenSpan]:
        """Return the block that is a span in a trace of another process."""

    def create_span(self, name: str) -> AbstractContextManager[OpenSpan]:
        """Return the block that is a span within the current one."""


class Phases:
    """The span of whatever phase the work is in; a block that ends the last one. For one thread."""

    def __init__(self, tracer: Tracer, report: Report) -> None:
        self._tracer, self._report = tracer, report
        self._phase: str | None = None
        self._open = ExitStack()

    def __call__(self, phase: str, fraction: float, metrics: Mapping[str, float]) -> None:
        """Report progress; with a new phase its span begins and the one before ends."""
        if phase != self._phase:
            self._open.close()
            self._open.enter_context(self._tracer.create_span(phase))
            self._phase = phase
        self._report(phase, fraction, metrics)

    def __enter__(self) -> Phases:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)


def in_its_trace(work: Work, job: Job, tracer: Tracer) -> Work:
    """Return ``work`` as the span of ``job``, which goes on with the trace that the job carries."""
    said: dict[str, Any] = {"quadra.job.id": job.id, "quadra.job.kind": job.kind}
    if job.started is not None:
        said["quadra.job.waited"] = job.started - job.created  # seconds in the queue

    def run(task: Assignment) -> Mapping[str, Any]:
        with tracer.continue_trace(job.carried or {}, f"job {job.kind}") as span:
            span.set_attributes(said)
            with Phases(tracer, task.report) as report:
                return work(replace(task, report=report))

    return run
