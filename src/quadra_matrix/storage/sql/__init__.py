"""The SQL database: SQLite by default, PostgreSQL by address. Only this folder imports SQLAlchemy."""

from quadra_matrix.storage.sql.engine import Database

__all__ = ["Database"]
