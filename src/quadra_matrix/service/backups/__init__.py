"""Backups of the ready service: what its settings make of them, the schedule, the commands."""
