"""What the work of a job is, and what it gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from quadra_matrix.events import Hook, ignore
from quadra_matrix.service.settings import Settings
from quadra_matrix.storage.sql import Database

Report = Callable[[str, float, Mapping[str, float]], None]
"""Called with phase, fraction (0 to 1) and metrics so far."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the work of a job gets."""

    job: str
    request: Mapping[str, Any]
    settings: Settings
    database: Database
    report: Report
    hook: Hook = ignore


Work = Callable[[Assignment], Mapping[str, Any]]
"""Does a job and returns its result: a JSON object."""
