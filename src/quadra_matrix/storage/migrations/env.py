"""What Alembic runs around the revisions; the connection and its transaction come from ``runner``."""

from __future__ import annotations

from alembic import context

from quadra_matrix.storage.sql.schema import all_tables

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=all_tables(),
    render_as_batch=True,  # SQLite cannot alter a column in place
    transactional_ddl=True,  # also on SQLite: our transactions begin before the first statement
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
