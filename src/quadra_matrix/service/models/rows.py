"""Turn the rows of a request into a model's inputs; say exactly which cell does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quadra_matrix.errors import BadRows
from quadra_matrix.service.models.values import Inputs
from quadra_matrix.store.models import Feature, Kind

MOST_FAULTS = 20
"""Faults reported at once."""

Row = Sequence[Any] | Mapping[str, Any]

TAKES: Mapping[Kind, frozenset[type]] = {
    Kind.NUMBER: frozenset({float, int, type(None)}),
    Kind.FLAG: frozenset({bool, type(None)}),
    Kind.CATEGORY: frozenset({str, type(None)}),
}
WANTED = {Kind.NUMBER: "a number", Kind.FLAG: "true or false", Kind.CATEGORY: "text"}


class RowReader:
    """Reads rows for one list of features. Stateless after construction; may be shared between threads."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self._names = tuple(feature.name for feature in features)
        self._known = frozenset(self._names)
        self._kinds = tuple(feature.kind for feature in features)
        self._numeric = tuple(i for i, kind in enumerate(self._kinds) if kind is not Kind.CATEGORY)
        self._categorical = tuple(i for i, kind in enumerate(self._kinds) if kind is Kind.CATEGORY)
        self._only_numbers = all(kind is Kind.NUMBER for kind in self._kinds)

    def read(self, rows: Sequence[Row]) -> Inputs:
        """Return the inputs of rows given as lists in the order of the features, or as records. None is missing.

        Raises ``BadRows`` with the place of the first faults.
        """
        faults: dict[tuple[str | int, ...], str] = {}
        cells = [row if type(row) is list else self._cells(row, number, faults) for number, row in enumerate(rows)]
        if faults or not self._fits(cells):
            raise BadRows(faults or self._faults(rows, cells))
        try:
            inputs = self._arrays(cells)
        except OverflowError as huge:
            raise BadRows({("rows",): "holds a whole number too large for a 64-bit float"}) from huge
        if np.isinf(inputs.numeric).any():
            row, column = (int(place[0]) for place in np.nonzero(np.isinf(inputs.numeric)))
            raise BadRows({("rows", row, self._step(rows[row], self._numeric[column])): "is not finite"})
        return inputs

    def _cells(self, row: Row, number: int, faults: dict[tuple[str | int, ...], str]) -> Sequence[Any]:
        """Return a row's cells in the order of the features; note missing and unknown names of a record."""
        if not isinstance(row, Mapping):
            return list(row)
        if row.keys() == self._known:
            return [row[name] for name in self._names]
        for name in self._names:
            if name not in row and len(faults) < MOST_FAULTS:
                faults["rows", number, name] = "is missing; give null for an unknown value"
        for name in row:
            if name not in self._known and len(faults) < MOST_FAULTS:
                faults["rows", number, name] = "is not a feature of the model"
        return []

    def _fits(self, cells: Sequence[Sequence[Any]]) -> bool:
        """Tell whether every row has the right length and types. The types of one row are compared in one go."""
        width = len(self._kinds)
        if any(len(row) != width for row in cells):
            return False
        if self._only_numbers:
            takes = TAKES[Kind.NUMBER]
            return all(takes.issuperset(map(type, row)) for row in cells)
        columns = zip(self._kinds, zip(*cells, strict=True), strict=True)
        return all(TAKES[kind].issuperset(map(type, column)) for kind, column in columns)

    def _arrays(self, cells: Sequence[Sequence[Any]]) -> Inputs:
        empty = len(cells), 0
        if not self._categorical:
            return Inputs(np.array(cells, dtype=np.float64), np.empty(empty, dtype=object))
        numeric = [[row[i] for i in self._numeric] for row in cells]
        categorical = [[row[i] or "" for i in self._categorical] for row in cells]
        return Inputs(
            np.array(numeric, dtype=np.float64) if self._numeric else np.empty(empty),
            np.array(categorical, dtype=object),
        )

    def _faults(self, rows: Sequence[Row], cells: Sequence[Sequence[Any]]) -> dict[tuple[str | int, ...], str]:
        """Return the first places that do not fit; only called once something does not."""
        faults: dict[tuple[str | int, ...], str] = {}
        for number, row in enumerate(cells):
            if len(row) != len(self._kinds):
                faults["rows", number] = f"has {len(row)} values; the model takes {len(self._kinds)}"
                continue
            for i, (kind, cell) in enumerate(zip(self._kinds, row, strict=True)):
                if type(cell) not in TAKES[kind]:
                    place = "rows", number, self._step(rows[number], i)
                    faults[place] = f"is not {WANTED[kind]}, which feature {self._names[i]!r} takes"
            if len(faults) >= MOST_FAULTS:
                break
        return dict(list(faults.items())[:MOST_FAULTS])

    def _step(self, row: Row, feature: int) -> str | int:
        """Return how the caller reaches a cell: by name in a record, by position in a list."""
        return self._names[feature] if isinstance(row, Mapping) else feature
