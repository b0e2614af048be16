"""The rules that open a circuit, and the tallies that keep what each rule needs. Pure.

A tally stores the number of each marked call, never the unmarked ones: a success costs it nothing. ``number`` is the
count of calls completed since the circuit last closed, this one included; ``now`` is in monotonic seconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any

from quadra_matrix.errors import require

BUCKETS = 10
"""Parts of a time window. The window moves by a tenth of its length, so it covers 90 to 100 % of its seconds."""

NEVER = float("inf")


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Open after ``failures`` of the last ``calls``, or within the last ``seconds``."""

    failures: int
    calls: int | None = field(default=None, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        require(self.failures >= 1, "failures", self.failures, "1 or more")
        _require_span(self.calls, self.seconds)
        if self.calls is not None:
            require(self.calls >= self.failures, "calls", self.calls, f"{self.failures} or more, as failures is")

    minimum = 0
    """Calls the window must hold before the rule speaks; for a count, none."""

    def marks(self, failed: bool, elapsed: float) -> bool:
        """Tell whether a call of this outcome and duration in seconds counts against the circuit."""
        return failed

    def is_broken(self, marked: int, calls: int) -> bool:
        """Tell whether ``marked`` of ``calls`` opens the circuit."""
        return marked >= self.failures

    def __str__(self) -> str:
        return f"{self.failures} failures in the last {_span(self.calls, self.seconds)}"


@dataclass(frozen=True, slots=True)
class FailureRate:
    """Open once the share ``rate`` of the last ``calls``, or of those in the last ``seconds``, failed."""

    rate: float
    calls: int | None = field(default=None, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)
    minimum: int = field(default=10, kw_only=True)
    """Calls the window must hold before the rule speaks."""

    def __post_init__(self) -> None:
        _require_rate(self.rate, self.minimum, self.calls)
        _require_span(self.calls, self.seconds)

    def marks(self, failed: bool, elapsed: float) -> bool:
        """Tell whether a call of this outcome and duration in seconds counts against the circuit."""
        return failed

    def is_broken(self, marked: int, calls: int) -> bool:
        """Tell whether ``marked`` of ``calls`` opens the circuit."""
        return calls >= self.minimum and marked / calls >= self.rate

    def __str__(self) -> str:
        return f"{self.rate:.0%} of the last {_span(self.calls, self.seconds)} failed"


@dataclass(frozen=True, slots=True)
class SlowCallRate:
    """Open once the share ``rate`` of the calls took ``slower_than`` seconds or more, whatever their outcome."""

    rate: float
    slower_than: float = field(kw_only=True)
    calls: int | None = field(default=None, kw_only=True)
    seconds: float | None = field(default=None, kw_only=True)
    minimum: int = field(default=10, kw_only=True)
    """Calls the window must hold before the rule speaks."""

    def __post_init__(self) -> None:
        require(self.slower_than > 0, "slower_than", self.slower_than, "above 0 seconds")
        _require_rate(self.rate, self.minimum, self.calls)
        _require_span(self.calls, self.seconds)

    def marks(self, failed: bool, elapsed: float) -> bool:
        """Tell whether a call of this outcome and duration in seconds counts against the circuit."""
        return elapsed >= self.slower_than

    def is_broken(self, marked: int, calls: int) -> bool:
        """Tell whether ``marked`` of ``calls`` opens the circuit."""
        return calls >= self.minimum and marked / calls >= self.rate

    def __str__(self) -> str:
        window = _span(self.calls, self.seconds)
        return f"{self.rate:.0%} of the last {window} took {self.slower_than:g} s or more"


Rule = FailureCount | FailureRate | SlowCallRate


class LastCalls:
    """The marked ones among the last ``size`` calls, exactly."""

    __slots__ = ("_marks", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._marks: deque[int] = deque()

    turn = NEVER
    """Seconds at which the window moves by itself: never."""

    def roll(self, number: int, now: float) -> None:
        """Forget what call ``number`` pushes out."""
        oldest = number - self._size
        while self._marks and self._marks[0] <= oldest:
            self._marks.popleft()

    def mark(self, number: int) -> None:
        """Remember that call ``number`` counts against the circuit."""
        self._marks.append(number)

    def marked(self) -> int:
        """Return how many calls in the window are marked."""
        return len(self._marks)

    def calls(self, number: int) -> int:
        """Return how many calls the window holds."""
        return min(number, self._size)

    def dump(self) -> list[int]:
        """Return what ``load`` takes."""
        return list(self._marks)

    def load(self, kept: list[int]) -> None:
        """Continue from what ``dump`` returned."""
        self._marks = deque(kept)


class LastSeconds:
    """The calls of the last ``seconds`` in ten buckets; each remembers the number its first call follows."""

    __slots__ = ("_buckets", "_marked", "_width", "turn")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self._buckets: deque[list[int]] = deque()  # [place in time, calls before it, marked calls in it]
        self._marked = 0
        self.turn = 0.0

    def roll(self, number: int, now: float) -> None:
        """Open the bucket of ``now`` for call ``number`` and forget those that are over."""
        place = int(now // self._width)
        if not self._buckets or self._buckets[-1][0] < place:
            self._buckets.append([place, number - 1, 0])
            self.turn = (place + 1) * self._width
        while self._buckets[0][0] <= place - BUCKETS:
            self._marked -= self._buckets.popleft()[2]

    def mark(self, number: int) -> None:
        """Remember that call ``number`` counts against the circuit; ``roll`` comes first."""
        self._buckets[-1][2] += 1
        self._marked += 1

    def marked(self) -> int:
        """Return how many calls in the window are marked."""
        return self._marked

    def calls(self, number: int) -> int:
        """Return how many calls the window holds."""
        return number - self._buckets[0][1] if self._buckets else 0

    def dump(self) -> list[list[int]]:
        """Return what ``load`` takes."""
        return [list(bucket) for bucket in self._buckets]

    def load(self, kept: list[list[int]]) -> None:
        """Continue from what ``dump`` returned."""
        self._buckets = deque(list(bucket) for bucket in kept)
        self._marked = sum(bucket[2] for bucket in kept)


class Tally:
    """One rule and its window. Not for several threads: the owner holds the lock."""

    __slots__ = ("rule", "window")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.window: LastCalls | LastSeconds
        if rule.calls is not None:
            self.window = LastCalls(rule.calls)
        else:
            assert rule.seconds is not None
            self.window = LastSeconds(rule.seconds)

    def record(self, number: int, now: float, *, failed: bool, elapsed: float) -> bool:
        """Take in call ``number``; return whether the rule is broken."""
        self.window.roll(number, now)
        if self.rule.marks(failed, elapsed):
            self.window.mark(number)
        return self.rule.is_broken(self.window.marked(), self.window.calls(number))

    def is_quiet(self, number: int) -> bool:
        """Tell whether the next success cannot break the rule unless the window turns first.

        A success only lowers a rate. The one exception is the success that brings the calls to the minimum.
        """
        return not self.window.marked() or self.window.calls(number) >= self.rule.minimum

    def dump(self) -> list[Any]:
        """Return the window as JSON values."""
        return self.window.dump()

    def load(self, kept: list[Any]) -> None:
        """Continue from what ``dump`` returned."""
        self.window.load(kept)


def _require_span(calls: int | None, seconds: float | None) -> None:
    """Refuse a window that has no length, or two."""
    require((calls is None) != (seconds is None), "calls", calls, "given, or seconds, but not both")
    require(calls is None or calls >= 1, "calls", calls, "1 or more")
    require(seconds is None or 0 < seconds < NEVER, "seconds", seconds, "above 0 and finite")


def _require_rate(rate: float, minimum: int, calls: int | None) -> None:
    """Refuse a share outside (0, 1] and a minimum that the window can never hold."""
    require(0 < rate <= 1, "rate", rate, "above 0 and at most 1")
    require(minimum >= 1, "minimum", minimum, "1 or more")
    if calls is not None:
        require(minimum <= calls, "minimum", minimum, f"at most calls, {calls}")


def _span(calls: int | None, seconds: float | None) -> str:
    """Return the window in words."""
    return f"{calls} calls" if calls is not None else f"{seconds:g} s"
