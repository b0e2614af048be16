"""Label values of a metric: short, printable, and never more combinations than a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T")

Labels = tuple[str, ...]

MOST = 1000
"""Combinations of label values that one process keeps of one metric."""
LONGEST = 120
"""Characters of a label value."""
OTHER = "(other)"
"""Every label of what came after the bound was reached."""


class Combinations(Generic[T]):
    """What a metric keeps for each combination of its label values; all beyond ``limit`` share one.

    A value that a stranger chooses would otherwise grow the memory of the service, of every scrape and of Prometheus.
    May be shared between threads.
    """

    def __init__(
        self, labels: Labels, make: Callable[[Labels], T], *, known: Iterable[Labels] = (), limit: int = MOST
    ) -> None:
        """``known`` are combinations that exist already; they count."""
        self._make, self._limit = make, limit
        self._rest = (OTHER,) * len(labels)
        self._kept = {values: make(values) for values in known}

    def of(self, values: Labels) -> T:
        """Return what is kept for these values; make it if it is new."""
        kept = self._kept.get(values)
        return self._new(values) if kept is None else kept

    def _new(self, values: Labels) -> T:
        shown = tuple(shown_value(value) for value in values)
        if shown not in self._kept and len(self._kept) >= self._limit:
            shown = self._rest
        kept = self._kept.get(shown)
        return self._kept.setdefault(shown, self._make(shown)) if kept is None else kept


def shown_value(value: str) -> str:
    """Return a value as a label shows it: not too long, and nothing that a line or UTF-8 cannot hold.

    >>> shown_value("pay\\nments")
    'pay?ments'
    """
    short = value[:LONGEST]
    return short if short.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in short)
