"""An operator makes, checks and restores backups; a restore says how long it took and that the service is well."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from quadra_matrix.cli import main
from quadra_matrix.service.app import create_app
from quadra_matrix.service.processes import exclusive
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.backup.age import new_identity
from tests.service.wired import settings_with_iris

ROW = {"model": "iris", "rows": [[5.1, 3.5, 1.4, 0.2]]}


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of a service with a model, in the environment."""
    settings = settings_with_iris(tmp_path / "service")
    use(monkeypatch, settings.data_dir)
    monkeypatch.setenv("QUADRA_BACKUP_TARGET", str(tmp_path / "backups"))
    monkeypatch.setenv("QUADRA_DEFAULT_MODEL", "iris")
    monkeypatch.setenv("SECRET_KEY", "a secret that signs what is backed up here")
    return settings


def use(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setenv("QUADRA_DATA_DIR", str(folder))


def quadra(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["db", *arguments])


def told(*arguments: str) -> Any:
    ran = quadra(*arguments, "--json")
    assert ran.exit_code == 0, ran.output
    return json.loads(ran.stdout)


def predicted(folder: Path) -> Any:
    return create_app(Settings(data_dir=folder)).test_client().post("/api/predict", json=ROW).get_json()


def test_a_restore_drill(service: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = predicted(service.data_dir)
    made = told("backup")
    assert told("verify")["signed"] is True
    use(monkeypatch, tmp_path / "elsewhere")

    done = told("restore")

    assert (done["name"], done["rows"], done["files"]) == (made["name"], made["rows"], made["files"])
    assert (done["health"], done["aside"]) == ("ok", None)
    assert 0 < done["seconds"] < 600
    after = predicted(tmp_path / "elsewhere")
    assert after["predictions"] == before["predictions"]


def test_backups_are_listed_and_pruned(service: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [told("backup")["name"] for _ in range(3)]
    assert sorted(row["name"] for row in told("list")) == sorted(made)
    monkeypatch.setenv("QUADRA_BACKUP_KEEP_LAST", "1")
    monkeypatch.setenv("QUADRA_BACKUP_KEEP_DAYS", "0")

    assert len(told("prune", "--dry-run")["removed"]) == 2
    assert len(told("list")) == 3
    assert len(told("prune")["removed"]) == 2
    assert len(told("list")) == 1
    assert quadra("list").stdout.splitlines()[0].split() == ["name", "made", "bytes", "encrypted"]


def test_a_place_in_use_is_refused(service: Settings) -> None:
    told("backup")

    full = quadra("restore")
    with exclusive(service.run_dir / "serve.lock"):
        running = quadra("restore", "--overwrite")

    assert (full.exit_code, running.exit_code) == (1, 1)
    assert "not empty" in full.stderr
    assert "serves" in running.stderr or "service" in running.stderr


def test_what_is_overwritten_is_kept_aside(service: Settings) -> None:
    told("backup")
    (service.datasets_dir / "later.csv").write_text("a\n1\n")

    done = quadra("restore", "--overwrite")

    assert done.exit_code == 0, done.output
    assert "what stood there before is in" in done.stderr
    assert len(list(service.run_dir.glob("replaced-*/datasets/later.csv"))) == 1


def test_a_cut_backup_is_refused(service: Settings, tmp_path: Path) -> None:
    file = tmp_path / "backups" / told("backup")["name"]
    file.write_bytes(file.read_bytes()[:-100])

    for ran in (quadra("verify"), quadra("restore", "--overwrite")):
        assert ran.exit_code == 1
        assert "cut short" in ran.stderr
    assert predicted(service.data_dir)["predictions"]


def test_an_encrypted_backup_needs_its_key(service: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, recipient = new_identity()
    (tmp_path / "key.txt").write_text(secret)
    monkeypatch.setenv("QUADRA_BACKUP_RECIPIENTS", recipient)
    assert told("backup")["encrypted"] is True

    assert quadra("verify").exit_code == 1
    assert told("verify", "--identity", str(tmp_path / "key.txt"))["signed"] is True


def test_without_a_secret_the_reader_is_told_what_was_not_checked(
    service: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SECRET_KEY")
    told("backup")

    assert "not who made the backup: there is no SECRET_KEY here" in quadra("verify").stderr
    monkeypatch.setenv("SECRET_KEY", "a secret that comes too late")
    assert "nobody signed it" in quadra("verify").stderr
    assert quadra("restore", "--overwrite").exit_code == 1
    assert quadra("restore", "--overwrite", "--accept-unsigned").exit_code == 0


@pytest.mark.parametrize(
    ("target", "said"), [("s3://", "a folder, or s3://bucket/prefix"), ("s3:///x", "a folder, or s3://bucket/prefix")]
)
def test_a_target_that_is_none_is_refused(service: Settings, target: str, said: str) -> None:
    ran = quadra("list", "--target", target)

    assert ran.exit_code == 2
    assert said in ran.stderr


def test_there_is_nothing_to_restore(service: Settings) -> None:
    ran = quadra("restore")

    assert ran.exit_code == 1
    assert "no backup is named 'latest'" in ran.stderr
