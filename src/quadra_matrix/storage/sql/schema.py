"""Every table of the service in one place."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path

import sqlalchemy as sa

from quadra_matrix.storage.sql.engine import metadata


def all_tables() -> sa.MetaData:
    """Import every module of this folder, whose tables join ``metadata`` by that, and return it."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"quadra_matrix.storage.sql.{module.name}")
    return metadata
