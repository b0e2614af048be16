"""The page of problem types lists what the service answers, all of it and nothing else."""

from __future__ import annotations

import inspect
from pathlib import Path

from quadra_matrix.api.problem import REQUEST_KINDS, Kind, kind_of
from quadra_matrix.breaker import flask
from quadra_matrix.service.app import STATUSES
from quadra_matrix.service.routes import experiments, refusals

PAGE = Path(__file__).parents[2] / "docs/reference/problems.md"


def row(kind: Kind, meaning: str) -> str:
    return f"| `{kind.type}` | {kind.status} | {meaning} |"


def expected() -> list[str]:
    """Return the rows of the page: kinds of requests first, then the errors by status and name."""
    found = [row(kind, f"{kind.title}.") for kind in REQUEST_KINDS]
    errors = {**STATUSES, **refusals.STATUSES, **experiments.REFUSED, **flask.STATUSES}
    for error, status in sorted(errors.items(), key=lambda entry: (entry[1], entry[0].__name__)):
        meaning = inspect.cleandoc(error.__doc__ or "").partition("\n")[0].partition(";")[0].partition(". ")[0]
        found.append(row(kind_of(error, status), meaning.rstrip(".") + "."))
    return found


def test_the_page_lists_every_type_and_no_other() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| `urn:")]

    assert rows == expected()


def test_every_type_stands_for_one_thing() -> None:
    types = [line.split("`")[1] for line in expected()]

    assert len(types) == len(set(types))
