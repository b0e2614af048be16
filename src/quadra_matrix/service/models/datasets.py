"""Keep uploaded datasets, and load the rows that a training request names."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from pathlib import Path
from typing import Literal, Protocol

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import BadDataset, UnknownDataset, UploadTooLarge
from quadra_matrix.service.models.request import BuiltIn, Data, Inline
from quadra_matrix.service.models.tables import inline_table
from quadra_matrix.service.models.values import Table
from quadra_matrix.store.ids import new_id
from quadra_matrix.store.models import Dataset, DatasetStore

CHUNK = 1 << 16
Format = Literal["csv", "parquet"]


class Readable(Protocol):
    """Where an upload comes from."""

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes; none at the end."""


class Datasets:
    """Uploads and the data of trainings; a ``DataSource``. May be shared between threads and processes."""

    def __init__(self, store: DatasetStore, folder: Path, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self._store, self._folder, self._clock = store, folder, clock
        folder.mkdir(parents=True, exist_ok=True)

    def receive(self, upload: Readable, *, name: str, format: Format, limit: int) -> Dataset:  # noqa: A002
        """Stream an upload to disk, look into it, and record it. Memory does not grow with its size.

        Raises ``UploadTooLarge`` past ``limit`` bytes and ``BadDataset`` where it cannot be read; nothing stays then.
        """
        from quadra_matrix.service.models import duckdb

        now = self._clock.now()
        dataset = new_id(now)
        arriving = self._folder / f".new-{secrets.token_hex(8)}.{format}"
        try:
            size, fingerprint = _streamed(upload, arriving, limit)
            if not size:
                raise BadDataset("the upload is empty")
            rows, columns = duckdb.summaries(arriving, format)
            received = Dataset(dataset, name, format, rows, size, fingerprint, columns, now)
            arriving.rename(self._file(received))
        finally:
            arriving.unlink(missing_ok=True)
        self._store.add(received)
        return received

    def all(self) -> list[Dataset]:
        """Return every upload, newest first."""
        return self._store.all()

    def get(self, id: str) -> Dataset:  # noqa: A002
        """Return one upload. Raises ``UnknownDataset``."""
        found = self._store.get(id)
        if found is None:
            raise UnknownDataset(id)
        return found

    def remove(self, id: str) -> None:  # noqa: A002
        """Forget an upload and delete its file; models trained on it stay. Raises ``UnknownDataset``."""
        found = self.get(id)
        self._store.remove(id)
        self._file(found).unlink(missing_ok=True)

    def load(self, wanted: Data) -> Table:
        """Return the table that a request names. Raises ``UnknownDataset`` or ``BadDataset``."""
        if isinstance(wanted, Inline):
            return inline_table(wanted)
        if isinstance(wanted, BuiltIn):
            from quadra_matrix.service.models.sklearn.builtin import builtin_table

            return builtin_table(wanted)
        return self._uploaded(self.get(wanted.id))

    def _uploaded(self, dataset: Dataset) -> Table:
        from quadra_matrix.service.models import duckdb

        file = self._file(dataset)
        if not file.exists():
            raise BadDataset(f"the file of dataset {dataset.id} is gone; upload it again")
        columns = duckdb.columns(file, dataset.format)
        return Table(dataset.name, dataset.fingerprint, columns, dataset.rows)

    def _file(self, dataset: Dataset) -> Path:
        return self._folder / f"{dataset.id}.{dataset.format}"


def _streamed(upload: Readable, file: Path, limit: int) -> tuple[int, str]:
    """Write an upload to a file, at most ``limit`` bytes of it; return its size and SHA-256."""
    digest, size = hashlib.sha256(), 0
    with contextlib.closing(file.open("xb")) as written:
        while chunk := upload.read(CHUNK):
            size += len(chunk)
            if size > limit:
                raise UploadTooLarge(limit)
            digest.update(chunk)
            written.write(chunk)
    return size, digest.hexdigest()
