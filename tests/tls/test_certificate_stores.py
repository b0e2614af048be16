"""Entries and the lease that hosts share: one contract, in a folder, on SQLite, on PostgreSQL, and sealed."""

from __future__ import annotations

import multiprocessing
import stat
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from quadra_matrix.errors import CertificateRefused, InvalidValue
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.certificates import SqlCertificates
from quadra_matrix.storage.sql.schema import all_tables
from quadra_matrix.store.certificates import CertificateStore
from quadra_matrix.testing import FakeClock
from quadra_matrix.tls.sealed import Sealed
from quadra_matrix.tls.shelf import Shelf

SECRET = b"s" * 32


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture(params=["folder", "sqlite", pytest.param("postgresql", marks=pytest.mark.slow), "sealed"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Iterator[CertificateStore]:
    if request.param == "folder":
        yield Shelf(tmp_path / "shelf", clock)
        return
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").create_database(f"certificates_{abs(hash(tmp_path))}")
    else:
        url = f"sqlite:///{tmp_path / 'quadra.db'}"
    database = Database(url)
    all_tables().create_all(database.engine)
    shared = SqlCertificates(database, clock)
    yield Sealed(shared, SECRET) if request.param == "sealed" else shared
    database.close()


# Entries


def test_an_entry_comes_back_as_it_was_written(store: CertificateStore) -> None:
    content = bytes(range(256)) + b"\n\n"
    store.write("pair-shop.test", content)

    assert store.read("pair-shop.test") == content


def test_there_is_nothing_that_nobody_wrote(store: CertificateStore) -> None:
    assert store.read("pair-shop.test") is None


def test_an_entry_is_replaced_and_removed(store: CertificateStore) -> None:
    store.write("a", b"1")
    store.write("b", b"2")
    store.write("a", b"3")
    store.write("b", None)
    store.write("b", None)

    assert (store.read("a"), store.read("b")) == (b"3", None)


def test_an_entry_is_gone_after_its_time(store: CertificateStore, clock: FakeClock) -> None:
    store.write("answer", b"text", until=clock.now() + 60)
    store.write("account", b"key")

    clock.advance(59)
    assert store.read("answer") == b"text"
    clock.advance(1)
    assert store.read("answer") is None
    store.write("another", b"text")
    assert store.read("account") == b"key"


# The lease


def test_one_holder_leads(store: CertificateStore) -> None:
    assert store.lead("orders", "a", 60)
    assert not store.lead("orders", "b", 60)
    assert store.lead("orders", "a", 60)
    assert store.lead("other-orders", "b", 60)
    store.leave("other-orders", "b")
    store.leave("orders", "a")


def test_a_lease_that_was_given_back_is_free(store: CertificateStore) -> None:
    store.lead("orders", "a", 60)
    store.leave("orders", "b")
    assert not store.lead("orders", "b", 60)

    store.leave("orders", "a")
    store.leave("orders", "a")

    assert store.lead("orders", "b", 60)
    store.leave("orders", "b")


def test_one_of_many_that_ask_at_once_leads(store: CertificateStore) -> None:
    barrier, leaders = threading.Barrier(6), []

    def ask(holder: str) -> None:
        barrier.wait(30)
        if store.lead("orders", holder, 60):
            leaders.append(holder)

    threads = [threading.Thread(target=ask, args=(f"holder-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(leaders) == 1
    store.leave("orders", leaders[0])


def test_a_lease_in_a_database_ends_by_itself(tmp_path: Path, clock: FakeClock) -> None:
    database = Database(f"sqlite:///{tmp_path / 'quadra.db'}")
    all_tables().create_all(database.engine)
    shared = SqlCertificates(database, clock)
    shared.lead("orders", "a", 60)

    clock.advance(59)
    assert not shared.lead("orders", "b", 60)
    clock.advance(1)
    assert shared.lead("orders", "b", 60)
    assert not shared.lead("orders", "a", 60)
    database.close()


def lead_and_wait(folder: Path, told: Connection) -> None:
    told.send(Shelf(folder).lead("orders", "child", 60))
    told.recv()


def test_a_lease_in_a_folder_ends_with_its_process(tmp_path: Path) -> None:
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=lead_and_wait, args=(tmp_path / "shelf", theirs))
    child.start()
    assert ours.recv()
    assert not Shelf(tmp_path / "shelf").lead("orders", "us", 60)

    child.kill()
    child.join(30)

    shelf = Shelf(tmp_path / "shelf")
    assert shelf.lead("orders", "us", 60)
    shelf.leave("orders", "us")
    ours.close()
    theirs.close()


# Secrets


def test_nobody_else_reads_a_folder(tmp_path: Path) -> None:
    Shelf(tmp_path / "shelf").write("account", b"key")

    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "shelf", *(tmp_path / "shelf").iterdir())]
    assert modes == [0o700, 0o600]


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)

    with pytest.raises(CertificateRefused, match="others may write"):
        Shelf(tmp_path).write("account", b"key")


def test_a_folder_does_not_keep_the_answers_of_a_leader_that_died(tmp_path: Path, clock: FakeClock) -> None:
    shelf = Shelf(tmp_path / "shelf", clock)
    shelf.write("account.one", b"key")
    shelf.write("answer", b"text", until=clock.now() + 60)
    clock.advance(60)

    shelf.write("pair", b"pair")

    assert {path.name for path in (tmp_path / "shelf").iterdir()} == {"account.one.entry", "pair.entry"}


@pytest.mark.parametrize("name", ["", "../escape", "a/b", ".hidden", "a\n", "x" * 300])
def test_a_name_that_is_no_file_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidValue):
        Shelf(tmp_path / "shelf").read(name)


def test_what_is_sealed_shows_nothing(tmp_path: Path) -> None:
    inside = Shelf(tmp_path / "shelf")

    Sealed(inside, SECRET).write("account", b"a private key")
    first = inside.read("account")
    Sealed(inside, SECRET).write("account", b"a private key")

    assert first is not None
    assert b"private" not in first
    assert inside.read("account") != first


def test_another_secret_opens_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    inside = Shelf(tmp_path / "shelf")
    Sealed(inside, SECRET).write("account", b"key")

    assert Sealed(inside, b"another").read("account") is None
    assert "sealed with another secret" in caplog.text


@pytest.mark.parametrize("spoilt", [b"", b"short", b"x" * 100])
def test_a_spoilt_entry_counts_as_missing(tmp_path: Path, spoilt: bytes) -> None:
    inside = Shelf(tmp_path / "shelf")
    inside.write("account", spoilt)

    assert Sealed(inside, SECRET).read("account") is None


def test_entries_cannot_change_places(tmp_path: Path) -> None:
    inside = Shelf(tmp_path / "shelf")
    Sealed(inside, SECRET).write("pair-staging", b"pair")
    moved = inside.read("pair-staging")

    inside.write("pair-shop", moved)

    assert Sealed(inside, SECRET).read("pair-shop") is None
