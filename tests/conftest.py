"""What every test may ask for: a clean environment, a real PostgreSQL, an empty database of either kind."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings

from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.schema import all_tables
from tests.services.postgres import Postgres, postgres_server

_numbers = itertools.count()

# A deadline in wall time measures the machine's load, not the code.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the developer's own options and ``.env`` from the test."""
    for name in os.environ:
        if name.upper().startswith("QUADRA_") and name != "QUADRA_TEST_NO_SKIP":
            monkeypatch.delenv(name)
    monkeypatch.delenv("SECRET_KEY", raising=False)
    monkeypatch.setitem(Settings.model_config, "env_file", None)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server for the whole run, started when the first test asks for it."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a database that holds every table: copying it takes a tenth of making the tables again."""
    database = Database(postgres.create_database("template_quadra"))
    all_tables().create_all(database.engine)
    database.close()
    return "template_quadra"


@pytest.fixture(
    params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)],  # its server takes seconds to start
)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with every table and no rows, once of each kind."""
    if request.param == "sqlite":
        opened = Database(f"sqlite:///{tmp_path / 'quadra.db'}")
        all_tables().create_all(opened.engine)
    else:
        template: str = request.getfixturevalue("postgres_template")
        opened = Database(copy_of(request.getfixturevalue("postgres"), template))
    yield opened
    opened.close()


def copy_of(server: Postgres, template: str) -> str:
    """Return the address of a fresh copy of the database ``template``."""
    name = f"test_{next(_numbers)}"
    admin = sa.create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name} TEMPLATE {template}")
    return server.url.rsplit("/", 1)[0] + "/" + name
