"""What the settings say about backups, as the values that ``storage.backup`` works with."""

from __future__ import annotations

from pathlib import Path

from quadra_matrix.errors import InvalidValue
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.backup import Folder, Keys, Place, Retention, Target
from quadra_matrix.storage.sql import Database

S3 = "s3://"


def place_of(settings: Settings, database: Database) -> Place:
    """Return what is backed up: the database, datasets, published models and the logs of jobs."""
    folders = {"datasets": settings.datasets_dir, "models": settings.models_dir, "logs": settings.logs_dir}
    return Place(database, folders, settings.run_dir / "backup")


def target_of(settings: Settings) -> Target:
    """Return where backups are kept; raise ``InvalidValue`` for an address that names no place."""
    address = settings.backup_target
    if address is None:
        return Folder(settings.data_dir / "backups")
    if not address.startswith(S3):
        return Folder(Path(address).absolute())
    bucket, _, prefix = address.removeprefix(S3).partition("/")
    if not bucket:
        raise InvalidValue("backup_target", address, "a folder, or s3://bucket/prefix")
    from quadra_matrix.storage.backup.s3 import Bucket  # the extra is needed only for buckets

    return Bucket(bucket, f"{prefix.rstrip('/')}/" if prefix else "")


def keys_of(settings: Settings, identity: Path | None = None) -> Keys:
    """Return what signs and encrypts; ``identity`` is the file of the key that decrypts."""
    secret = settings.secret_key.get_secret_value() if settings.secret_key else None
    return Keys(secret, settings.backup_recipients, identity)


def retention_of(settings: Settings) -> Retention:
    """Return which backups are kept."""
    return Retention(settings.backup_keep_last, settings.backup_keep_days)
