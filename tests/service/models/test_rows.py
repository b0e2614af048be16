"""Rows of a request fit the model, or every misfit is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import BadRows
from quadra_matrix.service.models.rows import MOST_FAULTS, RowReader
from quadra_matrix.store.models import Feature, Kind

MIXED = RowReader([Feature("age", Kind.NUMBER), Feature("city", Kind.CATEGORY), Feature("member", Kind.FLAG)])
NUMBERS = RowReader([Feature("a", Kind.NUMBER), Feature("b", Kind.NUMBER)])
CITIES = RowReader([Feature("city", Kind.CATEGORY)])


def places(reader: RowReader, rows: list[Any]) -> dict[tuple[str | int, ...], str]:
    with pytest.raises(BadRows) as refused:
        reader.read(rows)
    return refused.value.places


def test_lists_and_records_mean_the_same() -> None:
    record = {"member": True, "age": 30, "city": "Oslo"}

    inputs = MIXED.read([[30, "Oslo", True], record, (30.0, "Oslo", True)])

    assert inputs.numeric.tolist() == [[30.0, 1.0]] * 3
    assert inputs.categorical.tolist() == [["Oslo"]] * 3


def test_null_is_a_missing_value() -> None:
    inputs = MIXED.read([[None, None, None]])

    assert np.isnan(inputs.numeric).all()
    assert inputs.categorical.tolist() == [[""]]


def test_a_model_of_categories_alone_has_an_empty_matrix_of_numbers() -> None:
    assert CITIES.read([["Oslo"], ["Rome"]]).numeric.shape == (2, 0)


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=2, max_size=2), min_size=1))
def test_numbers_arrive_unchanged(rows: list[list[float]]) -> None:
    assert NUMBERS.read(rows).numeric.tolist() == rows


@pytest.mark.parametrize(
    ("row", "place", "fault"),
    [
        ([1, "Oslo"], ("rows", 0), "has 2 values; the model takes 3"),
        ([1, "Oslo", True, 4], ("rows", 0), "has 4 values"),
        (["1", "Oslo", True], ("rows", 0, 0), "is not a number, which feature 'age' takes"),
        ([True, "Oslo", True], ("rows", 0, 0), "is not a number"),
        ([1, 2, True], ("rows", 0, 1), "is not text"),
        ([1, "Oslo", 1], ("rows", 0, 2), "is not true or false"),
        ({"age": 1, "city": 2, "member": True}, ("rows", 0, "city"), "is not text"),
        ({"age": 1, "member": True}, ("rows", 0, "city"), "is missing"),
        ({"age": 1, "city": "x", "member": True, "zip": 1}, ("rows", 0, "zip"), "is not a feature"),
        ([float("inf"), "Oslo", True], ("rows", 0, 0), "is not finite"),
        ({"age": float("-inf"), "city": "x", "member": True}, ("rows", 0, "age"), "is not finite"),
        ([10**400, "Oslo", True], ("rows",), "too large"),
    ],
)
def test_a_misfit_is_named(row: Any, place: tuple[str | int, ...], fault: str) -> None:
    found = places(MIXED, [row])

    assert list(found) == [place]
    assert fault in found[place]


def test_text_is_never_read_as_a_number() -> None:
    assert list(places(NUMBERS, [[1, 2], [1, "2"]])) == [("rows", 1, 1)]


def test_the_report_stops_after_some_faults() -> None:
    assert len(places(NUMBERS, [["x", "y"]] * 100)) == MOST_FAULTS
    assert len(places(NUMBERS, [{}] * 100)) == MOST_FAULTS
    assert len(places(NUMBERS, [{"a": 1, "b": 2, **{f"c{i}": 0 for i in range(50)}}])) == MOST_FAULTS
