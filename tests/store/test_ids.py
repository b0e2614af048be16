"""Identifiers sort by the time they were made."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.store import new_id

MOMENTS = st.floats(min_value=0, max_value=4e9)


@given(MOMENTS, MOMENTS)
def test_ids_of_different_milliseconds_sort_by_time(one: float, other: float) -> None:
    if int(one * 1000) != int(other * 1000):
        assert (new_id(one) < new_id(other)) == (one < other)


@given(MOMENTS)
def test_an_id_is_a_version_7_uuid(now: float) -> None:
    made = uuid.UUID(hex=new_id(now))

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(now * 1000)


def test_ids_of_one_moment_differ() -> None:
    assert len({new_id(1.0) for _ in range(1000)}) == 1000
