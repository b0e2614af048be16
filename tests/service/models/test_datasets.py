"""Uploads are streamed to disk, looked into, and gone after a refusal."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import pytest

from quadra_matrix.errors import BadDataset, UnknownDataset, UploadTooLarge
from quadra_matrix.service.models.datasets import CHUNK, Datasets
from quadra_matrix.service.models.request import BuiltIn, Uploaded
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.models import SqlDatasets
from quadra_matrix.store.models import Kind
from quadra_matrix.testing import FakeClock

CONTENT = b"a,b\n1,x\n2,y\n"


@pytest.fixture
def datasets(database: Database, tmp_path: Path) -> Datasets:
    return Datasets(SqlDatasets(database), tmp_path / "datasets", clock=FakeClock())


class Endless:
    """An upload that never ends, and remembers how much of it was read."""

    taken = 0

    def read(self, size: int) -> bytes:
        self.taken += size
        return b"x" * size


def files(datasets: Datasets) -> list[Path]:
    return list(datasets._folder.iterdir())


def test_an_upload_is_recorded_and_loaded(datasets: Datasets) -> None:
    received = datasets.receive(io.BytesIO(CONTENT), name="letters", format="csv", limit=100)
    table = datasets.load(Uploaded(id=received.id))

    assert (received.rows, received.size, received.format) == (2, len(CONTENT), "csv")
    assert received.fingerprint == hashlib.sha256(CONTENT).hexdigest() == table.fingerprint
    assert datasets.all() == [datasets.get(received.id)] == [received]
    assert [(column.name, column.kind) for column in table.columns] == [("a", Kind.NUMBER), ("b", Kind.CATEGORY)]


def test_an_upload_past_the_limit_is_cut_off_and_leaves_nothing(datasets: Datasets) -> None:
    upload = Endless()

    with pytest.raises(UploadTooLarge, match="larger than 100000 bytes"):
        datasets.receive(upload, name="big", format="csv", limit=100_000)

    assert upload.taken <= 100_000 + CHUNK
    assert (files(datasets), datasets.all()) == ([], [])


@pytest.mark.parametrize("content", [b"", b"a,b\n", b"\x00" * 10])
def test_an_unreadable_upload_leaves_nothing(datasets: Datasets, content: bytes) -> None:
    with pytest.raises(BadDataset):
        datasets.receive(io.BytesIO(content), name="bad", format="csv", limit=1000)

    assert (files(datasets), datasets.all()) == ([], [])


def test_a_removed_dataset_is_gone_with_its_file(datasets: Datasets) -> None:
    received = datasets.receive(io.BytesIO(CONTENT), name="letters", format="csv", limit=100)

    datasets.remove(received.id)

    assert files(datasets) == []
    with pytest.raises(UnknownDataset, match=received.id):
        datasets.load(Uploaded(id=received.id))
    with pytest.raises(UnknownDataset):
        datasets.remove(received.id)


def test_a_dataset_whose_file_is_gone_says_so(datasets: Datasets) -> None:
    received = datasets.receive(io.BytesIO(CONTENT), name="letters", format="csv", limit=100)
    files(datasets)[0].unlink()

    with pytest.raises(BadDataset, match="upload it again"):
        datasets.load(Uploaded(id=received.id))


@pytest.mark.parametrize(("name", "kind"), [("iris", Kind.CATEGORY), ("diabetes", Kind.NUMBER)])
def test_built_in_data_is_always_there(datasets: Datasets, name: str, kind: Kind) -> None:
    table = datasets.load(BuiltIn.model_validate({"name": name}))

    target = table.column("target")
    assert target is not None
    assert (target.kind, table.rows) == (kind, len(target.values))
