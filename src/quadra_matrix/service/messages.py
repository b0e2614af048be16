"""What the WebSocket hub says: one model that validates, serialises and documents every message."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from quadra_matrix.store.jobs import JobEvent, JobState


class JobNews(BaseModel):
    """A job as it was when the event happened."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: Annotated[str, Field(description="Id of the job.")]
    kind: Annotated[str, Field(examples=["train"])]
    state: JobState
    phase: Annotated[str, Field(description="What the work is doing; empty before it says.", examples=["fit"])]
    fraction: Annotated[float, Field(ge=0, le=1, description="The part that is done; it never goes back.")]
    metrics: Annotated[dict[str, float], Field(description="Measured so far.")]
    result: Annotated[dict[str, Any] | None, Field(description="Of a job that succeeded.")] = None
    error: Annotated[str | None, Field(description="Of a job that failed or was interrupted.")] = None


class WebSocketMessage(BaseModel):
    """One event. A client that lost its connection asks again with ``after`` set to the last sequence it saw."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: Annotated[str, Field(examples=["job.progress", "job.succeeded"])]
    sequence: Annotated[int, Field(ge=1, description="Rises strictly; numbers may be left out.")]
    time: Annotated[AwareDatetime, Field(description="When it happened: RFC 3339, UTC.")]
    data: JobNews

    def text(self) -> str:
        """Return the message as it is sent; a result or an error only where there is one."""
        return self.model_dump_json(exclude_none=True)


def message(event: JobEvent) -> WebSocketMessage:
    """Return an event of the log as the hub says it."""
    return WebSocketMessage(
        type=event.type,
        sequence=event.sequence,
        time=datetime.fromtimestamp(event.time, UTC),
        data=JobNews(**event.data),
    )
