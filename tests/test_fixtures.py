"""The fixtures that other tests stand on."""

from __future__ import annotations

import os

import sqlalchemy as sa

from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.schema import all_tables


def test_the_database_fixture_has_every_table_and_no_rows(database: Database) -> None:
    tables = all_tables().tables

    assert set(tables) <= set(sa.inspect(database.engine).get_table_names())
    with database.read() as connection:
        assert not any(connection.execute(sa.select(table).limit(1)).first() for table in tables.values())


def test_the_developers_own_options_are_hidden() -> None:
    assert not [name for name in os.environ if name.startswith("QUADRA_") and name != "QUADRA_TEST_NO_SKIP"]
