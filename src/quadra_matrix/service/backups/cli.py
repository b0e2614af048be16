"""``quadra db backup|list|verify|restore|prune``: the service's data in one file, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from quadra_matrix.clock import SYSTEM_CLOCK
from quadra_matrix.errors import AlreadyServing, BackupMissing
from quadra_matrix.service.settings import Settings, load
from quadra_matrix.terminal import Exit, is_terminal, json_option, print_json, print_table, remark

if TYPE_CHECKING:
    from quadra_matrix.storage.backup import Entry, Manifest, Place, Target

LATEST = "latest"

target_option = click.option("--target", help="Where backups are kept: a folder, or s3://bucket/prefix.")
name_argument = click.argument("name", default=LATEST)
identity_option = click.option(
    "--identity",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the secret key of age that decrypts.",
)


@click.command()
@target_option
@json_option
def backup(target: str | None, as_json: bool) -> None:
    """Back up the database, datasets, models and job logs into one file; the service may run meanwhile."""
    from quadra_matrix.service.backups.parts import keys_of, target_of
    from quadra_matrix.storage.backup import back_up
    from quadra_matrix.storage.sql.backups import SqlBackups
    from quadra_matrix.store.backups import BackupRecord

    settings = load(backup_target=target)
    with _place(settings) as place:
        began = SYSTEM_CLOCK.monotonic()
        entry, manifest = back_up(place, target_of(settings), keys_of(settings), report=_progress(as_json))
        SqlBackups(place.database).add(BackupRecord(entry.made, SYSTEM_CLOCK.now(), entry.name, entry.size, None))
    done = {**_row(entry), **_content(manifest), "seconds": SYSTEM_CLOCK.monotonic() - began}
    _show(done, as_json, ["name", "bytes", "rows", "files", "seconds"])


@click.command("list")
@target_option
@json_option
def list_backups(target: str | None, as_json: bool) -> None:
    """List the backups, oldest first."""
    rows = [_row(entry) for entry in _target(target).entries()]
    if as_json:
        print_json(rows)
    else:
        print_table(rows, ["name", "made", "bytes", "encrypted"])


@click.command("verify")
@name_argument
@target_option
@identity_option
@json_option
def verify_backup(name: str, target: str | None, identity: Path | None, as_json: bool) -> None:
    """Read a backup to its end and compare every byte with its manifest. Exit code 1 when it cannot be used.

    NAME is one that `quadra db list` shows; without it, the newest.
    """
    from quadra_matrix.service.backups.parts import keys_of, target_of
    from quadra_matrix.storage.backup import verify

    settings = load(backup_target=target)
    kept = target_of(settings)
    with _place(settings) as place:
        found = _named(kept, name)
        checked = verify(place, kept, found, keys_of(settings, identity))
    _say_unsigned(checked.is_signed, settings)
    done = {"name": found, **_content(checked.manifest), "signed": checked.is_signed}
    _show(done, as_json, ["name", "rows", "files", "signed"])


@click.command("restore")
@name_argument
@target_option
@identity_option
@click.option("--overwrite", is_flag=True, help="Replace what is there; files that stood there are kept aside.")
@click.option("--accept-unsigned", is_flag=True, help="Accept a backup that nobody signed.")
@json_option
def restore_backup(
    name: str, target: str | None, identity: Path | None, overwrite: bool, accept_unsigned: bool, as_json: bool
) -> None:
    """Put a backup in place, into an empty database and data folder, and show that the service is well on it.

    NAME is one that `quadra db list` shows; without it, the newest. The whole backup is checked before anything is
    touched. The service must not run meanwhile.
    """
    from quadra_matrix.service.backups.parts import keys_of, target_of
    from quadra_matrix.service.processes import exclusive
    from quadra_matrix.storage.backup import restore

    settings = load(backup_target=target)
    kept, began = target_of(settings), SYSTEM_CLOCK.monotonic()
    with exclusive(settings.run_dir / "serve.lock") as lock, _place(settings) as place:
        if lock is None:
            raise AlreadyServing(settings.data_dir)
        found = _named(kept, name)
        restored = restore(
            place, kept, found, keys_of(settings, identity),
            overwrite=overwrite, accept_unsigned=accept_unsigned, report=_progress(as_json),
        )  # fmt: skip
    _say_unsigned(restored.is_signed, settings)
    health = _health(settings)
    if restored.aside:
        remark(f"what stood there before is in {restored.aside}; remove it when you no longer need it")
    done = {
        "name": found, **_content(restored.manifest), "seconds": SYSTEM_CLOCK.monotonic() - began,
        "health": health["status"], "aside": str(restored.aside) if restored.aside else None,
    }  # fmt: skip
    _show(done, as_json, ["name", "rows", "files", "seconds", "health"])
    if not health["answers"]:
        raise SystemExit(Exit.FAILED)


@click.command()
@target_option
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@json_option
def prune(target: str | None, dry_run: bool, as_json: bool) -> None:
    """Remove the backups that QUADRA_BACKUP_KEEP_LAST and QUADRA_BACKUP_KEEP_DAYS do not keep."""
    from quadra_matrix.service.backups.parts import retention_of
    from quadra_matrix.storage.backup import expired

    kept = _target(target)
    gone = expired(kept.entries(), retention_of(load()), SYSTEM_CLOCK.now())
    if not dry_run:
        for entry in gone:
            kept.delete(entry.name)
    if as_json:
        print_json({"removed": [_row(entry) for entry in gone], "dry_run": dry_run})
    else:
        print_table([_row(entry) for entry in gone], ["name", "made", "bytes"])


def _health(settings: Settings) -> dict[str, Any]:
    """Return what /health says on the restored data: the whole app is built, no port is opened."""
    from quadra_matrix.service.app import create_app

    answer = create_app(settings).test_client().get("/health/ready")
    return {"status": answer.get_json()["status"], "answers": answer.status_code == 200}


@contextmanager
def _place(settings: Settings) -> Iterator[Place]:
    from quadra_matrix.service.backups.parts import place_of
    from quadra_matrix.storage.sql import Database

    database = Database(settings.database_url)
    try:
        yield place_of(settings, database)
    finally:
        database.close()


def _target(address: str | None) -> Target:
    from quadra_matrix.service.backups.parts import target_of

    return target_of(load(backup_target=address))


def _named(target: Target, name: str) -> str:
    """Return the name of the newest backup for ``latest``."""
    if name != LATEST:
        return name
    entries = target.entries()
    if not entries:
        raise BackupMissing(LATEST)
    return entries[-1].name


def _progress(as_json: bool) -> Callable[[str], None]:
    """Say each step where a person watches."""
    return remark if is_terminal() and not as_json else lambda step: None


def _say_unsigned(is_signed: bool, settings: Settings) -> None:
    if not is_signed:
        why = "nobody signed it" if settings.secret_key else "there is no SECRET_KEY here"
        remark(f"warning: only checksums were compared, not who made the backup: {why}")


def _row(entry: Entry) -> dict[str, Any]:
    made = datetime.fromtimestamp(entry.made, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return {"name": entry.name, "made": made, "bytes": entry.size, "encrypted": entry.is_encrypted}


def _content(manifest: Manifest) -> dict[str, Any]:
    return {
        "version": manifest.version,
        "revision": manifest.revision,
        "rows": sum(manifest.rows.values()),
        "files": len(manifest.members) - 1,  # the database is not one of them
    }


def _show(done: dict[str, Any], as_json: bool, columns: list[str]) -> None:
    if as_json:
        print_json(done)
    else:
        print_table([done], columns)
