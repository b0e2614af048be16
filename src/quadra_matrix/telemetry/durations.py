"""Histograms in files that every process of a service reads, with a trace as an example of each bucket."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.telemetry.shared import Count, Row, SharedSeries

EVERY = 1.0
"""Seconds between two examples of one bucket: a scraper sees one a scrape, and most requests write none."""

PARTS = ("#0", "#1", "#2")
"""Ends of the three keys of an example. Their six doubles are: seconds, time; trace id in three parts; time again."""
_BITS = 43
"""Bits of a trace id in one double, which holds 53 exactly."""
_MASK = (1 << _BITS) - 1


@dataclass(frozen=True, slots=True)
class Exemplar:
    """A recorded request that fell into a bucket."""

    trace_id: str
    """32 hexadecimal digits."""
    seconds: float
    at: float
    """Seconds since the epoch."""


class Exemplars(Row):
    """The example of each bucket of one series. Whoever calls it holds the lock of the series."""

    __slots__ = ("_clock",)
    kind = "exemplar"

    def __init__(self, series: SharedSeries, buckets: Sequence[str], clock: Clock = SYSTEM_CLOCK) -> None:
        """``buckets`` are their keys."""
        super().__init__(series, [key + part for key in buckets for part in PARTS])
        self._clock = clock

    def keep(self, bucket: int, seconds: float, trace_id: int) -> None:
        """Make a request the example of its bucket, unless that has one of this second."""
        first, second, third = self.places[3 * bucket : 3 * bucket + 3]
        numbers, now = self.numbers, self._clock.now()
        if 0 <= now - numbers[first + 1] < EVERY:
            return
        numbers[first], numbers[first + 1] = seconds, now
        numbers[second], numbers[second + 1] = float(trace_id >> 2 * _BITS), float(trace_id >> _BITS & _MASK)
        numbers[third], numbers[third + 1] = float(trace_id & _MASK), now  # at last: by the time a reader knows


class Durations(Row):
    """A sum of seconds, and how many fell between which ``bounds``.

    ``keys`` are those of the sum and of each bucket: one more than bounds.
    """

    __slots__ = ("_bounds", "_exemplars")
    kind = "histogram"

    def __init__(self, series: SharedSeries, keys: Sequence[str], bounds: Sequence[float]) -> None:
        super().__init__(series, keys)
        self._bounds = bounds
        self._exemplars: Exemplars | None = None

    def observe(self, seconds: float, also: Count | None = None, trace_id: int = 0) -> None:
        """Count one duration, and one in ``also``; the trace, if it is recorded, is an example of its bucket."""
        bucket = 1 + bisect.bisect_left(self._bounds, seconds)
        series = self._series
        with series.lock:
            if series.is_open or series.reopen():
                numbers, places = self.numbers, self.places
                numbers[places[0]] += seconds
                numbers[places[bucket]] += 1.0
                if also is not None:
                    also.numbers[also.places[0]] += 1.0
                if trace_id:
                    self._example(bucket - 1, seconds, trace_id)

    def _example(self, bucket: int, seconds: float, trace_id: int) -> None:
        if self._exemplars is None:  # most series never meet a recorded trace
            self._exemplars = Exemplars(self._series, self.keys[1:])
        self._exemplars.keep(bucket, seconds, trace_id)


def newest(entries: Iterable[tuple[str, float, float]]) -> dict[str, Exemplar]:
    """Return the newest example of each bucket by its key, from the entries of all files.

    One that is half written, because its process writes it now or was killed over it, is left out.
    """
    found: dict[str, Exemplar] = {}
    doubles: dict[str, tuple[float, float]] = {}
    for key, left, right in entries:
        bucket, part = key[:-2], key[-2:]
        if part == PARTS[0]:
            doubles = {}
        doubles[part] = (left, right)
        if part == PARTS[2] and len(doubles) == len(PARTS):
            example = _read(doubles)
            if example is not None and (bucket not in found or found[bucket].at < example.at):
                found[bucket] = example
    return found


def _read(doubles: Mapping[str, tuple[float, float]]) -> Exemplar | None:
    (seconds, begun), (high, middle), (low, ended) = (doubles[part] for part in PARTS)
    if begun == 0.0 or begun != ended:
        return None
    trace_id = int(high) << 2 * _BITS | int(middle) << _BITS | int(low)
    return Exemplar(f"{trace_id:032x}", seconds, begun)
