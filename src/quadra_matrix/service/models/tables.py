"""Make a table of an inline request, and the fingerprint of any table."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from quadra_matrix.errors import BadDataset
from quadra_matrix.service.models.request import Inline
from quadra_matrix.service.models.values import Column, Table
from quadra_matrix.store.models import Kind

MISSING = type(None)


def inline_table(inline: Inline) -> Table:
    """Return the table of a request's own rows. Raises ``BadDataset`` for a column that mixes types."""
    cells = list(zip(*inline.rows, strict=True))
    faults = {
        name: "mixes types" for name, values in zip(inline.columns, cells, strict=True) if kind_of(values) is None
    }
    if faults:
        raise BadDataset(
            "a column holds numbers, or true and false, or text, and null where a value is missing", faults
        )
    columns = tuple(_column(name, values) for name, values in zip(inline.columns, cells, strict=True))
    return Table("inline", fingerprint(columns), columns, len(inline.rows))


def kind_of(values: Sequence[Any]) -> Kind | None:
    """Return what the cells are, or None where they mix; a column without any value counts as numbers."""
    types = set(map(type, values)) - {MISSING}
    if types <= {int, float}:
        return Kind.NUMBER
    return {frozenset([bool]): Kind.FLAG, frozenset([str]): Kind.CATEGORY}.get(frozenset(types))


def fingerprint(columns: Sequence[Column]) -> str:
    """Return the SHA-256 over names, kinds and values, as hex digits."""
    digest = hashlib.sha256()
    for column in columns:
        digest.update(json.dumps([column.name, column.kind, len(column.values)]).encode())
        if column.kind is Kind.CATEGORY:
            digest.update(json.dumps(column.values.tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(column.values, dtype="<f8").tobytes())
    return digest.hexdigest()


def _column(name: str, values: Sequence[Any]) -> Column:
    kind = kind_of(values)
    if kind is Kind.CATEGORY:
        return Column(name, kind, np.array([value or "" for value in values], dtype=object))
    return Column(name, kind or Kind.NUMBER, np.array(values, dtype=np.float64))
