"""Inline rows become typed columns; the fingerprint follows the content."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quadra_matrix.errors import BadDataset
from quadra_matrix.service.models.request import Inline
from quadra_matrix.service.models.tables import fingerprint, inline_table
from quadra_matrix.store.models import Kind


def table_of(columns: list[str], *rows: list[Any]) -> Any:
    return inline_table(Inline(columns=columns, rows=list(rows)))


def test_the_cells_decide_the_kind_of_a_column() -> None:
    table = table_of(["n", "f", "c", "empty"], [1, True, "x", None], [2.5, None, None, None])

    assert [column.kind for column in table.columns] == [Kind.NUMBER, Kind.FLAG, Kind.CATEGORY, Kind.NUMBER]
    assert np.array_equal(table.column("n").values, [1.0, 2.5])
    assert np.array_equal(table.column("f").values, [1.0, np.nan], equal_nan=True)
    assert table.column("c").values.tolist() == ["x", ""]
    assert table.column("missing") is None


@pytest.mark.parametrize("cells", [[1, "x"], [True, 1], [False, "x"]])
def test_a_column_of_mixed_types_is_refused_by_name(cells: list[Any]) -> None:
    with pytest.raises(BadDataset, match="'b' mixes types") as refused:
        table_of(["a", "b"], [1, cells[0]], [2, cells[1]])

    assert list(refused.value.columns) == ["b"]


def test_the_fingerprint_follows_names_kinds_and_values() -> None:
    tables = [
        table_of(["a", "b"], [1, "x"]),
        table_of(["a", "c"], [1, "x"]),
        table_of(["a", "b"], [2, "x"]),
        table_of(["a", "b"], [1, "y"]),
        table_of(["a", "b"], [True, "x"]),
    ]

    assert len({table.fingerprint for table in tables}) == len(tables)
    assert fingerprint(tables[0].columns) == table_of(["a", "b"], [1.0, "x"]).fingerprint
