"""``/api/datasets``: upload a table, look at the uploads, delete one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, get_args

from flask import Blueprint, Request, request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from quadra_matrix.api.flask import documented, validated
from quadra_matrix.api.problem import Problem
from quadra_matrix.errors import RequestRefused, UploadTooLarge
from quadra_matrix.service.models.datasets import Datasets, Format
from quadra_matrix.service.routes.refusals import answer_refusals
from quadra_matrix.store.models import Dataset, Kind

MEDIA_TYPES: dict[str, Format] = {
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
}

DatasetId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$", description="Id of a dataset: 32 hexadecimal digits.")]


class ColumnView(BaseModel):
    """One column as it was found."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    kind: Kind
    missing: int = Field(ge=0)
    """Cells without a value."""
    distinct: int = Field(ge=0)
    """Different values, not counting missing ones."""


class DatasetView(BaseModel):
    """An uploaded table."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: DatasetId
    name: str
    format: Format
    rows: int = Field(ge=1)
    size: int = Field(ge=1)
    """Bytes."""
    fingerprint: str
    """SHA-256 of the file, as hexadecimal digits."""
    columns: list[ColumnView]
    created: AwareDatetime


class DatasetList(BaseModel):
    """Every upload, newest first."""

    datasets: list[DatasetView]


class DatasetPath(BaseModel):
    """Names one dataset."""

    id: DatasetId


class UploadQuery(BaseModel):
    """What to call the upload."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=100)] = "upload"


def dataset_routes(datasets: Datasets, *, max_upload_bytes: int) -> Blueprint:
    """Return the routes of uploaded datasets."""
    routes = Blueprint("datasets", __name__, url_prefix="/api/datasets")
    answer_refusals(routes)

    @routes.post("")
    @documented(body=bytes, body_media=MEDIA_TYPES)
    @validated(status=201, responses={413: Problem, 415: Problem})
    def upload(query: UploadQuery) -> tuple[DatasetView, int, dict[str, str]]:
        """Keep a table: the body is the file itself, as text/csv or application/vnd.apache.parquet."""
        asked = request
        form = MEDIA_TYPES.get(asked.mimetype)
        if form is None:
            raise RequestRefused(415, f"send the file itself as one of: {', '.join(MEDIA_TYPES)}")
        if (asked.content_length or 0) > max_upload_bytes:
            raise UploadTooLarge(max_upload_bytes)
        # One byte more than may come: the count of what arrives is ours, so that the refusal names the limit.
        asked.max_content_length = max_upload_bytes + 1
        received = datasets.receive(_Upload(asked), name=query.name, format=form, limit=max_upload_bytes)
        return _view(received), 201, {"Location": f"/api/datasets/{received.id}"}

    @routes.get("")
    @validated
    def listed() -> DatasetList:
        """List the uploads, newest first."""
        return DatasetList(datasets=[_view(dataset) for dataset in datasets.all()])

    @routes.get("/<id>")
    @validated(responses={404: Problem})
    def shown(path: DatasetPath) -> DatasetView:
        """Describe one upload and its columns."""
        return _view(datasets.get(path.id))

    @routes.delete("/<id>")
    @validated(status=204, responses={404: Problem})
    def removed(path: DatasetPath) -> tuple[None, int]:
        """Delete an upload; models trained on it stay."""
        datasets.remove(path.id)
        return None, 204

    return routes


class _Upload:
    """The body of a request as it arrives."""

    def __init__(self, asked: Request) -> None:
        self._stream = asked.stream

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        return self._stream.read(size)


def _view(dataset: Dataset) -> DatasetView:
    columns = [
        ColumnView(name=column.name, kind=column.kind, missing=column.missing, distinct=column.distinct)
        for column in dataset.columns
    ]
    return DatasetView(
        id=dataset.id,
        name=dataset.name,
        format=next(form for form in get_args(Format) if form == dataset.format),
        rows=dataset.rows,
        size=dataset.size,
        fingerprint=dataset.fingerprint,
        columns=columns,
        created=datetime.fromtimestamp(dataset.created_at, UTC),
    )
