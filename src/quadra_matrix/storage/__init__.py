"""What must last: the database, its migrations, backups, shared state in Redis."""
