"""A backup made while others write is one moment of the place, and a restore brings that moment back or nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from quadra_matrix.errors import BackupBusy, BackupMissing, BackupUnreadable, ProgramFailed, RestoreRefused
from quadra_matrix.storage.backup import Folder, Keys, Place, back_up, restore, verify
from quadra_matrix.storage.backup.age import new_identity
from quadra_matrix.testing import FakeClock
from tests.services.postgres import Postgres
from tests.storage.backup.places import FILES, add_dataset, datasets, files, fill, make_place

KEYS = Keys(secret="the secret key of the service")

ROOT = Path(__file__).parents[3]


class Setting:
    """A filled place, a target, and empty places of the same kind."""

    def __init__(self, folder: Path, server: Postgres | None) -> None:
        self._folder, self._server, self._made = folder, server, 0
        self.target = Folder(folder / "backups")
        self.place = self.empty()
        fill(self.place)

    def empty(self) -> Place:
        self._made += 1
        name = f"place_{self._made}"
        folder = self._folder / name
        folder.mkdir()
        unique = f"{name}_{abs(hash(self._folder))}"
        return make_place(folder, self._server.create_database(unique) if self._server else None)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def setting(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Setting]:
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    made = Setting(tmp_path, server)
    yield made
    made.place.database.close()


def test_a_restore_brings_everything_back(setting: Setting) -> None:
    steps: list[str] = []
    entry, manifest = back_up(setting.place, setting.target, KEYS, report=steps.append)
    elsewhere = setting.empty()

    done = restore(elsewhere, setting.target, entry.name, KEYS)

    assert (datasets(elsewhere), files(elsewhere)) == (3, FILES)
    assert (done.is_signed, done.aside, done.manifest) == (True, None, manifest)
    assert manifest.rows["datasets"] == 3
    assert [entry.name for entry in setting.target.entries()] == [entry.name]
    assert len(steps) == 4
    elsewhere.database.close()


def test_a_backup_while_others_write_is_one_moment(setting: Setting) -> None:
    """A file is written before its row: whatever row the backup holds, it holds the file too."""
    stop = threading.Event()

    def write() -> None:
        number = 100
        while not stop.is_set():
            (setting.place.folders["datasets"] / f"{number}.csv").write_bytes(b"x" * 1000)
            add_dataset(setting.place, number)
            number += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [back_up(setting.place, setting.target, KEYS) for _ in range(3)]
    finally:
        stop.set()
        writer.join()

    for entry, manifest in made:
        elsewhere = setting.empty()
        restore(elsewhere, setting.target, entry.name, KEYS)
        written = [name for name in files(elsewhere) if name.removeprefix("datasets/")[0].isdigit()]
        assert datasets(elsewhere) == manifest.rows["datasets"]
        assert 0 <= datasets(elsewhere) - 3 <= len(written)
        elsewhere.database.close()


def test_a_place_in_use_is_overwritten_only_on_request_and_kept_aside(setting: Setting) -> None:
    entry, _ = back_up(setting.place, setting.target, KEYS)
    add_dataset(setting.place, 77)
    (setting.place.folders["models"] / "new").write_bytes(b"new")

    with pytest.raises(RestoreRefused, match=r"not empty: .*models.*the database"):
        restore(setting.place, setting.target, entry.name, KEYS)
    assert datasets(setting.place) == 4

    done = restore(setting.place, setting.target, entry.name, KEYS, overwrite=True)

    assert (datasets(setting.place), files(setting.place)) == (3, FILES)
    assert done.aside is not None
    assert (done.aside / "models" / "new").read_bytes() == b"new"


def test_a_damaged_backup_is_refused_before_anything_is_touched(setting: Setting) -> None:
    entry, _ = back_up(setting.place, setting.target, KEYS)
    file = setting.target.path / entry.name
    whole = file.read_bytes()
    for damaged in (whole[:-20], whole[: len(whole) // 2], whole[:2000] + b"\0" + whole[2001:]):
        file.write_bytes(damaged)
        with pytest.raises(BackupUnreadable):
            verify(setting.place, setting.target, entry.name, KEYS)
        with pytest.raises(BackupUnreadable):
            restore(setting.place, setting.target, entry.name, KEYS, overwrite=True)

        assert (datasets(setting.place), files(setting.place)) == (3, FILES)
    file.write_bytes(whole)
    assert verify(setting.place, setting.target, entry.name, KEYS).is_signed


def test_another_secret_and_no_signature_are_refused(setting: Setting) -> None:
    signed, _ = back_up(setting.place, setting.target, KEYS)
    unsigned, _ = back_up(setting.place, setting.target, Keys())
    elsewhere = setting.empty()

    with pytest.raises(BackupUnreadable, match="another secret"):
        restore(elsewhere, setting.target, signed.name, Keys(secret="another"))
    with pytest.raises(RestoreRefused, match="not signed"):
        restore(elsewhere, setting.target, unsigned.name, KEYS)
    assert files(elsewhere) == {}

    assert not restore(elsewhere, setting.target, unsigned.name, KEYS, accept_unsigned=True).is_signed
    elsewhere.database.close()


@pytest.mark.slow
def test_a_database_that_refuses_leaves_the_files_as_they_were(postgres: Postgres, tmp_path: Path) -> None:
    setting = Setting(tmp_path, postgres)
    entry, _ = back_up(setting.place, setting.target, KEYS)
    elsewhere = setting.empty()
    fill(elsewhere, rows=1)
    (elsewhere.folders["datasets"] / "a.csv").write_bytes(b"older")
    with elsewhere.database.begin() as connection:  # somebody else's view forbids dropping the table
        connection.execute(sa.text("CREATE VIEW theirs AS SELECT * FROM datasets"))

    with pytest.raises(ProgramFailed, match="theirs"):
        restore(elsewhere, setting.target, entry.name, KEYS, overwrite=True)

    assert datasets(elsewhere) == 1
    assert files(elsewhere)["datasets/a.csv"] == b"older"
    elsewhere.database.close()
    setting.place.database.close()


@pytest.mark.slow
def test_another_kind_of_database_is_refused(postgres: Postgres, tmp_path: Path) -> None:
    setting = Setting(tmp_path, None)
    entry, _ = back_up(setting.place, setting.target, KEYS)
    other = Setting(tmp_path / "place_1", postgres)

    with pytest.raises(RestoreRefused, match="holds a sqlite database, the destination is postgresql"):
        restore(other.place, setting.target, entry.name, KEYS, overwrite=True)

    assert datasets(other.place) == 3
    for place in (setting.place, other.place):
        place.database.close()


def test_tables_of_a_newer_version_are_refused(tmp_path: Path) -> None:
    setting = Setting(tmp_path, None)
    with setting.place.database.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = 'v9999'"))
    entry, _ = back_up(setting.place, setting.target, KEYS)

    with pytest.raises(RestoreRefused, match=r"v9999, which version .* does not know"):
        restore(setting.empty(), setting.target, entry.name, KEYS)
    setting.place.database.close()


def test_an_encrypted_backup_opens_with_its_key_alone(tmp_path: Path) -> None:
    setting = Setting(tmp_path, None)
    (secret, recipient), (other, _) = new_identity(), new_identity()
    right, wrong = tmp_path / "right.txt", tmp_path / "wrong.txt"
    right.write_text(f"# created: today\n{secret}\n")
    wrong.write_text(other)
    entry, _ = back_up(setting.place, setting.target, Keys(KEYS.secret, [recipient]))
    elsewhere = setting.empty()
    file = setting.target.path / entry.name

    assert entry.is_encrypted
    assert b"onnx" not in file.read_bytes()
    with pytest.raises(RestoreRefused, match="encrypted"):
        restore(elsewhere, setting.target, entry.name, KEYS)
    with pytest.raises(BackupUnreadable, match="decrypted"):
        restore(elsewhere, setting.target, entry.name, Keys(KEYS.secret, identity=wrong))
    assert restore(elsewhere, setting.target, entry.name, Keys(KEYS.secret, identity=right)).is_signed
    assert files(elsewhere) == FILES

    whole = file.read_bytes()
    for damaged in (whole[:-1], whole[:30], whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:]):
        file.write_bytes(damaged)
        with pytest.raises(BackupUnreadable):
            verify(setting.place, setting.target, entry.name, Keys(KEYS.secret, identity=right))
    for place in (setting.place, elsewhere):
        place.database.close()


def test_what_is_being_written_is_left_out(tmp_path: Path) -> None:
    setting = Setting(tmp_path, None)
    (setting.place.folders["models"] / ".new-1").mkdir()
    (setting.place.folders["models"] / ".new-1" / "half").write_bytes(b"half")

    _, manifest = back_up(setting.place, setting.target, KEYS)

    assert set(manifest.members) == {"database", *FILES}
    setting.place.database.close()


def test_a_killed_backup_leaves_nothing_in_the_target_and_harms_no_later_one(tmp_path: Path) -> None:
    setting = Setting(tmp_path, None)
    fifo = setting.place.folders["datasets"] / "slow.csv"
    os.mkfifo(fifo)  # no file: skipped
    big = setting.place.folders["datasets"] / "big.csv"
    big.write_bytes(os.urandom(1024) * 200_000)
    program = (
        "import sys; from pathlib import Path; from tests.storage.backup.places import make_place\n"
        "from quadra_matrix.storage.backup import *\n"
        "say = lambda step: print(step, flush=True)\n"
        "back_up(make_place(Path(sys.argv[1])), Folder(Path(sys.argv[2])), Keys(), report=say)"
    )
    folder = setting.place.work.parents[1]
    for phase in ("packing", "verifying", "storing"):
        with subprocess.Popen(
            [sys.executable, "-c", program, str(folder), str(setting.target.path)], cwd=ROOT, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            while not child.stdout.readline().startswith(phase.encode()):
                assert child.poll() is None
            child.send_signal(signal.SIGKILL)
            child.wait()

        assert setting.target.entries() == []
    for partial in setting.target.path.glob(".*"):
        os.utime(partial, (0.0, 0.0))  # long ago

    entry, _ = back_up(setting.place, setting.target, KEYS)
    verify(setting.place, setting.target, entry.name, KEYS)
    assert sorted(path.name for path in setting.place.work.iterdir()) == ["lock"]
    assert sorted(path.name for path in setting.target.path.iterdir()) == [entry.name]
    setting.place.database.close()


def test_two_backups_of_one_place_do_not_run_at_once(tmp_path: Path) -> None:
    setting = Setting(tmp_path, None)

    def again(step: str) -> None:
        with pytest.raises(BackupBusy):
            back_up(setting.place, setting.target, KEYS)

    back_up(setting.place, setting.target, KEYS, report=again)

    assert len(setting.target.entries()) == 1
    setting.place.database.close()


@pytest.mark.parametrize("name", ["quadra-20260101T000000Z-abcdef.tar.gz", "../../etc/passwd", ""])
def test_an_unknown_name_is_refused(tmp_path: Path, name: str) -> None:
    place, target = make_place(tmp_path), Folder(tmp_path / "backups")

    with pytest.raises(BackupMissing):
        verify(place, target, name, KEYS)
    with pytest.raises(BackupMissing):
        target.delete(name)


def test_the_time_in_the_name_is_the_time_of_the_copy(tmp_path: Path) -> None:
    setting = Setting(tmp_path, None)

    entry, manifest = back_up(setting.place, setting.target, KEYS, clock=FakeClock(now=1_767_225_600.25))

    assert entry.name.startswith("quadra-20260101T000000Z-")
    assert manifest.made == 1_767_225_600.25
    assert setting.target.entries()[0].made == 1_767_225_600.0
    setting.place.database.close()
