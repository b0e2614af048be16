"""Folder and bucket keep the same contract; the bucket's server is a real HTTP server that speaks S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto.server import ThreadedMotoServer

from quadra_matrix.errors import BackupMissing, TargetUnavailable
from quadra_matrix.storage.backup import Entry, Folder, Keys, Retention, Target, back_up, expired, restore
from quadra_matrix.storage.backup.retention import DAY
from quadra_matrix.storage.backup.s3 import Bucket
from quadra_matrix.storage.backup.target import entry_of, name_of
from tests.services.process import free_port
from tests.storage.backup.places import FILES, files, fill, make_place

NAMES = ["quadra-20260101T000000Z-000001.tar.gz", "quadra-20260102T000000Z-000000.tar.gz.age"]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3 server with the bucket ``kept``."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="kept")
    yield "kept"
    client.close()
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    if request.param == "folder":
        return Folder(tmp_path / "kept")
    return Bucket(request.getfixturevalue("s3"), "service/")


def test_a_target_keeps_lists_returns_and_deletes(target: Target, tmp_path: Path) -> None:
    file, back = tmp_path / "file", tmp_path / "back"
    file.write_bytes(b"content" * 1000)
    assert target.entries() == []

    for name in reversed(NAMES):
        target.put(name, file)
    target.fetch(NAMES[0], back)

    assert back.read_bytes() == file.read_bytes()
    assert [(entry.name, entry.size, entry.is_encrypted) for entry in target.entries()] == [
        (NAMES[0], 7000, False), (NAMES[1], 7000, True)
    ]  # fmt: skip
    target.delete(NAMES[0])
    assert [entry.name for entry in target.entries()] == NAMES[1:]
    for missing in (NAMES[0], "other", "../x"):
        with pytest.raises(BackupMissing):
            target.fetch(missing, back)
        with pytest.raises(BackupMissing):
            target.delete(missing)


def test_a_backup_goes_through_a_bucket(s3: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    place, elsewhere = make_place(tmp_path / "a"), make_place(tmp_path / "b")
    fill(place)

    entry, _ = back_up(place, Bucket(s3), Keys())
    restore(elsewhere, Bucket(s3), entry.name, Keys())

    assert files(elsewhere) == FILES
    for each in (place, elsewhere):
        each.database.close()


def test_a_bucket_that_is_not_there_or_does_not_answer_is_said(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TargetUnavailable, match="NoSuchBucket"):
        Bucket("absent").entries()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(TargetUnavailable, match="s3://kept"):
        Bucket(s3).entries()


def test_foreign_files_in_a_folder_are_left_alone(tmp_path: Path) -> None:
    for name in ("notes.txt", "quadra-x.tar.gz", f".{NAMES[0]}.partial", "quadra-20260230T000000Z-000000.tar.gz"):
        (tmp_path / name).touch()

    assert Folder(tmp_path).entries() == []


@given(st.floats(0, 4e9), st.booleans())
def test_a_name_tells_its_time(made: float, is_encrypted: bool) -> None:
    entry = entry_of(name_of(made, "abcdef", is_encrypted=is_encrypted), 5)

    assert entry is not None
    assert (entry.made, entry.is_encrypted, entry.size) == (int(made), is_encrypted, 5)


AGES = st.lists(st.floats(0, 100), max_size=30).map(
    lambda days: [Entry(f"quadra-{i:06x}", 1e9 - day * DAY, 1, False) for i, day in enumerate(days)]
)


@given(AGES, st.integers(1, 10), st.floats(0, 60))
def test_the_newest_and_the_young_stay(entries: list[Entry], last: int, days: float) -> None:
    gone = expired(entries, Retention(last, days), 1e9)

    kept = [entry for entry in entries if entry not in gone]
    assert len(kept) >= min(last, len(entries))
    assert all(1e9 - entry.made >= days * DAY for entry in gone)
    assert all(old.made <= entry.made for old in gone for entry in sorted(kept, key=lambda each: each.made)[-last:])
    assert expired(kept, Retention(last, days), 1e9) == []


def test_what_is_old_and_not_among_the_newest_goes() -> None:
    entries = [Entry(f"{day}", 1e9 - day * DAY, 1, False) for day in (0, 1, 5, 6, 7)]

    assert [entry.name for entry in expired(entries, Retention(last=2, days=6), 1e9)] == ["7", "6"]
    assert expired(entries, Retention(last=10, days=0), 1e9) == []
