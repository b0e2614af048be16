"""Backups by the clock: one host makes one for all, a failure is said and tried again, the old ones go."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.service import checks
from quadra_matrix.service.app import create_app
from quadra_matrix.service.backups.parts import target_of
from quadra_matrix.service.backups.schedule import HOUR, RETRY, Schedule, backing_up, is_due
from quadra_matrix.service.health import State
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.backup import Entry
from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.backups import SqlBackups
from quadra_matrix.store.backups import BackupRecord
from quadra_matrix.testing import FakeClock, RecordingHook
from tests.service.wired import settings_with_iris
from tests.services.process import wait_until

TIMES = st.floats(0, 1e6)


def made(at: float) -> BackupRecord:
    return BackupRecord(at, at, "quadra-x", 1, None)


def failed(at: float) -> BackupRecord:
    return BackupRecord(at, at, None, 0, "no room")


def test_the_first_backup_is_due_at_once() -> None:
    assert is_due(None, None, every=HOUR, now=5.0)


@given(TIMES, TIMES)
def test_the_next_backup_is_due_after_its_interval(last: float, after: float) -> None:
    assert is_due(made(last), made(last), every=HOUR, now=last + after) == (last + after - last >= HOUR)


@given(TIMES, TIMES)
def test_a_failed_backup_is_tried_again_after_a_pause(last: float, after: float) -> None:
    waited = last + after - last

    assert is_due(None, failed(last), every=HOUR, now=last + after) == (waited >= RETRY)


def test_a_clock_that_was_set_back_does_not_stop_backups() -> None:
    assert is_due(made(1e9), made(1e9), every=HOUR, now=1e8)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = settings_with_iris(tmp_path)
    return made.model_copy(update={"backup_every_hours": 1.0, "backup_keep_last": 2, "backup_keep_days": 0.0})


def names(settings: Settings) -> list[Entry]:
    return target_of(settings).entries()


def test_one_of_two_hosts_makes_each_backup_and_the_old_ones_go(settings: Settings) -> None:
    database, clock, hook = Database(settings.database_url), FakeClock(), RecordingHook()
    hosts = [Schedule(settings, database, hook=hook, clock=clock) for _ in range(2)]
    seen = []
    for _ in range(5):
        for host in (*hosts, *hosts):
            host.step()
        seen.append(len(names(settings)))
        clock.advance(HOUR)

    assert seen == [1, 2, 2, 2, 2]
    assert [type(event).__name__ for event in hook.events] == ["BackupMade"] * 5
    assert len(SqlBackups(database).latest(10)) == 5
    database.close()


def test_a_failure_is_recorded_announced_and_tried_again(settings: Settings) -> None:
    """The folder's name is taken by a file."""
    database, clock, hook = Database(settings.database_url), FakeClock(), RecordingHook()
    taken = settings.data_dir / "backups"
    taken.write_text("in the way")
    schedule = Schedule(settings, database, hook=hook, clock=clock)

    schedule.step()
    schedule.step()
    clock.advance(RETRY)
    taken.unlink()
    schedule.step()

    latest, before = SqlBackups(database).latest(10)
    assert (latest.error, before.name) == (None, None)
    assert "backups" in str(before.error)
    assert [type(event).__name__ for event in hook.events] == ["BackupFailed", "BackupMade"]
    database.close()


def test_the_thread_makes_a_backup_and_ends(settings: Settings) -> None:
    with contextlib.closing(Database(settings.database_url)) as database:
        with backing_up(settings, database, every=0.01):
            wait_until(lambda: len(names(settings)) == 1, "the first backup")
        with backing_up(settings.model_copy(update={"backup_every_hours": None}), database):
            pass

    assert len(names(settings)) == 1


def test_a_database_that_is_away_does_not_end_the_thread(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, backup_every_hours=1.0)
    with contextlib.closing(Database(settings.database_url)) as database, backing_up(settings, database, every=0.01):
        upgrade(database)  # until now every look failed
        wait_until(lambda: len(names(settings)) == 1, "the first backup")


@pytest.mark.parametrize(
    ("record", "state"), [(None, State.WAITING), (made(1e9 - 7200), State.OK), (made(1e9 - 7201), State.FAILED)]
)
def test_health_knows_how_old_the_newest_backup_is(record: BackupRecord | None, state: State) -> None:
    check = checks.backed_up(lambda: record, every_hours=1.0, clock=FakeClock(now=1e9))

    assert check().state == state


def test_health_shows_the_backups_where_there_is_a_schedule(settings: Settings) -> None:
    answer = create_app(settings).test_client().get("/health")

    assert answer.get_json()["checks"]["backups"]["detail"] == "no backup was made yet"
