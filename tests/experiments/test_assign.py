"""Assignment: the frozen hash, the split, ramps."""

from __future__ import annotations

import json
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quadra_matrix.errors import InvalidValue
from quadra_matrix.experiments.assign import RING, gate, placer, split

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())

weights = st.lists(st.floats(0, 100, allow_subnormal=False), min_size=1, max_size=6).filter(lambda each: sum(each) > 0)
coverages = st.floats(0, 1)
places = st.integers(0, RING - 1).map(lambda place: place.to_bytes(8, "big"))


@pytest.mark.parametrize("vector", VECTORS["places"], ids=lambda vector: f"{vector['salts']}-{vector['unit'][:9]!a}")
def test_the_hash_is_frozen(vector: dict[str, str]) -> None:
    assert placer(vector["purpose"], *vector["salts"])(vector["unit"]).hex() == vector["place"]


@pytest.mark.parametrize("vector", VECTORS["splits"], ids=lambda vector: f"{vector['weights']}-{vector['coverage']}")
def test_the_edges_are_frozen(vector: dict[str, list[float]]) -> None:
    edges = split(vector["weights"], vector["coverage"]).edges

    assert [edge.hex() for edge in edges] == vector["edges"]


@given(weights, coverages, coverages, places)
def test_more_coverage_only_adds_units(weights: list[float], one: float, other: float, place: bytes) -> None:
    less, more = sorted((one, other))

    arm = split(weights, less).arm(place)

    assert arm is None or split(weights, more).arm(place) == arm


@given(weights, places)
def test_full_coverage_leaves_nobody_out(weights: list[float], place: bytes) -> None:
    arm = split(weights).arm(place)

    assert arm is not None
    assert weights[arm] > 0


def test_nobody_is_in_an_experiment_without_coverage() -> None:
    assert {split([1, 1], 0).arm(bytes([first]) * 8) for first in range(256)} == {None}


def test_the_split_follows_the_weights() -> None:
    place, arms = placer("variant", "shares"), split([0.2, 0.5, 0.3])

    seen = Counter(arms.arm(place(f"user{number}")) for number in range(50_000))

    assert [seen[arm] / 50_000 for arm in range(3)] == pytest.approx([0.2, 0.5, 0.3], abs=0.01)


def test_experiments_are_independent_of_each_other() -> None:
    """Of 66 pairs, about one is dependent at 1 % by chance; CRC32 shows ten."""
    arms, units = split([1, 1]), [f"{number}" for number in range(20_000)]
    sides = [[arms.arm(placer("variant", f"exp{e}", "")(unit)) for unit in units] for e in range(12)]

    dependent = 0
    for one, other in combinations(sides, 2):
        same = sum(a == b for a, b in zip(one, other, strict=True))
        dependent += abs(same - 10_000) > 2.576 * 70.7

    assert dependent <= 5


@given(st.lists(st.text(), max_size=3), st.lists(st.text(), max_size=3), st.text())
def test_salts_and_separators_do_not_collide(one: list[str], other: list[str], unit: str) -> None:
    same = placer("variant", *one)(unit) == placer("variant", *other)(unit)

    assert same == (one == other)


def test_purposes_do_not_collide() -> None:
    assert placer("layer", "checkout")("u") != placer("variant", "checkout")("u")


def test_a_gate_lets_its_part_through() -> None:
    part = gate(0.25, 0.5)

    assert [part.arm((RING * eighth // 8).to_bytes(8, "big")) for eighth in range(8)] == [None] * 2 + [0] * 2 + [
        None
    ] * 4


@pytest.mark.parametrize(
    ("weights", "coverage", "field"),
    [([], 1, "weights"), ([0, 0], 1, "weights"), ([-1, 2], 1, "weights"), ([1, float("inf")], 1, "weights"),
     ([1, float("nan")], 1, "weights"), ([1], 1.5, "coverage"), ([1], float("nan"), "coverage")],
)  # fmt: skip
def test_a_split_refuses_nonsense(weights: list[float], coverage: float, field: str) -> None:
    with pytest.raises(InvalidValue, match=f"^{field} "):
        split(weights, coverage)


def test_a_gate_refuses_a_reversed_range() -> None:
    with pytest.raises(InvalidValue, match="range"):
        gate(0.5, 0.4)
