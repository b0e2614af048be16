"""The job table and its event log on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import KeyReused, QueueFull, UnknownJob
from quadra_matrix.storage.sql.engine import Database, metadata
from quadra_matrix.store.jobs import Job, JobEvent, JobState, announced, event_data

COME_BACK = 10.0
"""Seconds after which a caller that met a full queue should try again."""

WRITERS = "jobs"
"""The lock that every writer of jobs takes, so that the log's numbers become visible in their own order.

Without it PostgreSQL may commit number 8 before 7, and a reader that has seen 8 never asks for 7 again.
"""

Id = sa.String(32)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("kind", sa.String(40), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("about", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False, index=True),
    sa.Column("key", sa.String(255), unique=True),
    sa.Column("owner", sa.String(255)),
    sa.Column("holder", Id),
    sa.Column("lease_until", sa.Double),
    sa.Column("started", sa.Double),
    sa.Column("finished", sa.Double),
    sa.Column("phase", sa.String(80), nullable=False),
    sa.Column("fraction", sa.Double, nullable=False),
    sa.Column("metrics", sa.JSON(none_as_null=True), nullable=False),
    sa.Column("result", sa.JSON(none_as_null=True)),
    sa.Column("error", sa.Text),
    sa.Column("carried", sa.JSON(none_as_null=True)),
    sa.Column("request", sa.JSON(none_as_null=True), nullable=False),
)
JOB = [jobs.c[column.name] for column in fields(Job)]
"""The columns of a ``Job``: all but the request."""

events = sa.Table(
    "job_events",
    metadata,
    sa.Column("sequence", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    sa.Column("time", sa.Double, nullable=False),
    sa.Column("type", sa.String(40), nullable=False),
    sa.Column("job", Id, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("data", sa.JSON(none_as_null=True), nullable=False),
    sa.Index("ix_job_events_job_sequence", "job", "sequence"),
    sqlite_autoincrement=True,  # a number is never given twice, also after the newest rows are deleted
)


class SqlJobs:
    """A ``JobStore``, its ``JobQueue`` and its ``JobLog``. May be shared between threads."""

    def __init__(self, database: Database, clock: Clock = SYSTEM_CLOCK) -> None:
        self._database = database
        self._clock = clock

    def add(self, job: Job, request: Mapping[str, Any], *, queue_limit: int) -> Job:
        """Keep a new job and its request, or return the one that its key already made."""
        with self._database.begin(lock=WRITERS) as connection:
            known = _first(connection, jobs.c.key == job.key) if job.key else None
            if known and job.key:
                if (known.kind, known.fingerprint) != (job.kind, job.fingerprint):
                    raise KeyReused(job.key, known.id)
                return known
            waiting = connection.scalar(
                sa.select(sa.func.count()).select_from(jobs).where(jobs.c.state == JobState.QUEUED)
            )
            if waiting is not None and waiting >= queue_limit:
                raise QueueFull(queue_limit, COME_BACK)
            connection.execute(jobs.insert().values(request=request, **_row(job)))
            self._log(connection, None, job)
            return job

    def get(self, job_id: str) -> Job:
        """Return one job."""
        with self._database.read() as connection:
            return _one(connection, job_id)

    def list(self, *, states: Sequence[JobState] = (), before: str | None = None, limit: int = 100) -> Sequence[Job]:
        """Return the newest jobs first."""
        query = sa.select(*JOB).order_by(jobs.c.id.desc()).limit(limit)
        if states:
            query = query.where(jobs.c.state.in_(states))
        if before is not None:
            query = query.where(jobs.c.id < before)
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def change(self, job_id: str, decide: Callable[[Job], Job]) -> Job:
        """Replace the job by what ``decide`` returns."""
        with self._database.begin(lock=WRITERS) as connection:
            before = _one(connection, job_id)
            after = decide(before)
            if after != before:
                old, new = _row(before), _row(after)
                changed = {name: new[name] for name in new if new[name] != old[name]}
                connection.execute(jobs.update().where(jobs.c.id == job_id).values(changed))
                self._log(connection, before, after)
            return after

    def waiting(self, kinds: Sequence[str], limit: int) -> Sequence[Job]:
        """Return queued jobs of ``kinds``, oldest first."""
        query = (
            sa.select(*JOB)
            .where(jobs.c.state == JobState.QUEUED, jobs.c.kind.in_(kinds))
            .order_by(jobs.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_job(row) for row in connection.execute(query).mappings()]

    def request(self, job_id: str) -> Mapping[str, Any]:
        """Return what a job was asked to do."""
        with self._database.read() as connection:
            row = connection.execute(sa.select(jobs.c.request).where(jobs.c.id == job_id)).first()
        if row is None:
            raise UnknownJob(job_id)
        asked: Mapping[str, Any] = row.request
        return asked

    def counts(self) -> Mapping[JobState, int]:
        """Return how many jobs are in each state."""
        query = sa.select(jobs.c.state, sa.func.count()).group_by(jobs.c.state)
        with self._database.read() as connection:
            found = {JobState(state): number for state, number in connection.execute(query)}
        return {state: found.get(state, 0) for state in JobState}

    def read(self, after: int, *, job: str | None = None, limit: int = 500) -> Sequence[JobEvent]:
        """Return the events with a sequence above ``after``, oldest first."""
        query = sa.select(events).where(events.c.sequence > after).order_by(events.c.sequence).limit(limit)
        if job is not None:
            query = query.where(events.c.job == job)
        with self._database.read() as connection:
            return [JobEvent(**row) for row in connection.execute(query).mappings()]

    def latest(self) -> int:
        """Return the highest visible sequence."""
        with self._database.read() as connection:
            return connection.scalar(sa.select(sa.func.max(events.c.sequence))) or 0

    def _log(self, connection: Connection, before: Job | None, after: Job) -> None:
        """Append the event of a change, if anybody watches such changes."""
        kind = announced(before, after)
        if kind:
            told = {"time": self._clock.now(), "type": kind, "job": after.id, "data": event_data(after)}
            connection.execute(events.insert().values(told))


def _row(job: Job) -> dict[str, Any]:
    """Return the job as the table's columns."""
    return {column.name: getattr(job, column.name) for column in fields(job)}


def _job(row: Mapping[Any, Any]) -> Job:
    """Return the job that a row holds."""
    return Job(**{**row, "state": JobState(row["state"])})


def _first(connection: Connection, condition: sa.ColumnElement[bool]) -> Job | None:
    """Return the job that meets the condition, if there is one."""
    row = connection.execute(sa.select(*JOB).where(condition)).mappings().first()
    return _job(row) if row else None


def _one(connection: Connection, job_id: str) -> Job:
    """Return the job with this id or raise ``UnknownJob``."""
    found = _first(connection, jobs.c.id == job_id)
    if found is None:
        raise UnknownJob(job_id)
    return found
