"""Backups of a database and the folders beside it: made while both are in use, checked, and restored whole."""

from quadra_matrix.storage.backup.backup import Keys, Place, Restored, back_up, restore, verify
from quadra_matrix.storage.backup.manifest import Manifest
from quadra_matrix.storage.backup.retention import Retention, expired
from quadra_matrix.storage.backup.target import Entry, Folder, Target

__all__ = [
    "Entry",
    "Folder",
    "Keys",
    "Manifest",
    "Place",
    "Restored",
    "Retention",
    "Target",
    "back_up",
    "expired",
    "restore",
    "verify",
]
