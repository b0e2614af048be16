"""Who gets which variant: a unit's place on a ring, and the ranges of the ring that variants own. Pure.

The hash is frozen for ever by the vectors in ``tests/experiments/vectors.json``: a change here would move every user.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from quadra_matrix.errors import require

RING = 2**64
"""Places on the ring. A place is written as 8 bytes, most significant first, so that places compare as bytes."""

END = b"\xff" * 9
"""An edge behind the last place: longer than any place, and so greater than all of them."""

Placer = Callable[[str], bytes]
"""Returns a unit's place. Holds no state that a call changes; may be shared between threads."""


def placer(purpose: str, *salts: str) -> Placer:
    """Return the function that places units for one ``purpose`` (at most 16 ASCII characters) and its ``salts``.

    Each salt is preceded by its length and the purpose is the hash's own personalisation, so no two lists of salts
    give the same places by accident, whatever characters they contain.
    """
    seed = blake2b(digest_size=32, person=purpose.encode("ascii"))
    for salt in salts:
        text = salt.encode("utf-8", "surrogatepass")
        seed.update(len(text).to_bytes(8, "big") + text)
    fresh = blake2b(seed.digest(), digest_size=8).copy

    def place(unit: str) -> bytes:
        state = fresh()
        try:
            state.update(unit.encode())
        except UnicodeEncodeError:  # a lone surrogate, as in a file name that is not UTF-8
            state.update(unit.encode("utf-8", "surrogatepass"))
        return state.digest()

    return place


@dataclass(frozen=True, slots=True)
class Split:
    """The ring divided between arms: arm i owns the places from ``edges[2 i]`` up to, not with, ``edges[2 i + 1]``."""

    edges: tuple[bytes, ...]

    def arm(self, place: bytes) -> int | None:
        """Return the number of the arm that owns the place, or None where nobody does."""
        passed = bisect_right(self.edges, place)
        return passed >> 1 if passed & 1 else None


def split(weights: Sequence[float], coverage: float = 1.0) -> Split:
    """Divide the ring in proportion to ``weights``; each arm uses the first ``coverage`` (0 to 1) of its part.

    An arm's start does not depend on the coverage: raising it only adds units, lowering it restores the earlier set
    exactly. Shares are exact fractions, so every machine draws the same edges.
    """
    require(len(weights) > 0, "weights", weights, "at least one number")
    require(all(0 <= weight < float("inf") for weight in weights), "weights", weights, "numbers of 0 or more")
    require(0 <= coverage <= 1, "coverage", coverage, "between 0 and 1")
    from fractions import Fraction  # brings decimal: 8 ms that an import of the package need not take

    total = sum(map(Fraction, weights), Fraction(0))
    require(total > 0, "weights", weights, "above 0 in sum")
    edges: list[bytes] = []
    before = Fraction(0)
    for weight in map(Fraction, weights):
        start, after = int(before / total * RING), int((before + weight) / total * RING)
        edges += [_edge(start), _edge(start + int((after - start) * Fraction(coverage)))]
        before += weight
    return Split(tuple(edges))


def gate(start: float, end: float) -> Split:
    """Return a split with one arm: the share of the ring from ``start`` to ``end``, both 0 to 1."""
    require(0 <= start <= end <= 1, "range", (start, end), "0 <= start <= end <= 1")
    from fractions import Fraction

    return Split((_edge(int(Fraction(start) * RING)), _edge(int(Fraction(end) * RING))))


def _edge(place: int) -> bytes:
    """Return the place as bytes."""
    return END if place == RING else place.to_bytes(8, "big")
