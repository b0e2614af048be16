"""Write the revision that brings the tables of the newest one to what the package defines now."""

import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.script import ScriptDirectory

from quadra_matrix.storage.migrations import upgrade
from quadra_matrix.storage.migrations.runner import FOLDER, configuration
from quadra_matrix.storage.sql import Database


def write(message: str) -> Path:
    """Return the path of the new revision; read it before you commit it."""
    number = f"{len(list(ScriptDirectory(str(FOLDER)).walk_revisions())) + 1:04d}"
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/empty.db")
        upgrade(database)
        with database.begin() as connection:
            config = configuration(connection)
            config.set_main_option("file_template", "v%%(rev)s_%%(slug)s")
            made = command.revision(config, message, autogenerate=True, rev_id=number)
        database.close()
    return Path(made.path)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make migration m='add the table of rollouts'")
    write(sys.argv[1])
