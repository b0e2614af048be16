"""The aggregate's rows by phase, look and variant: what was known at every look. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import ceil

from quadra_matrix.experiments.aggregate import MICRO, Part, Row
from quadra_matrix.experiments.definition import Definition
from quadra_matrix.stats.arms import NONE_YET, Counts


@dataclass(frozen=True, slots=True)
class Arm:
    """One variant in one phase: users, converters, and the sums over users that tests need."""

    users: int = 0
    converters: int = 0
    y: float = 0.0
    yy: float = 0.0
    d: float = 0.0
    dd: float = 0.0
    yd: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def __add__(self, other: Arm) -> Arm:
        return Arm(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


NOBODY = Arm()

Arms = Mapping[str, Arm]
"""By variant."""


@dataclass(frozen=True, slots=True)
class Excluded:
    """What the results leave out, by the reason."""

    users_in_two_variants: int = 0
    conversions_of_these: int = 0
    conversions_without_exposure: int = 0
    conversions_before_exposure: int = 0
    conversions_after_the_window: int = 0


class Tally:
    """One metric's rows, ready to be read look by look. Read-only after it is made."""

    def __init__(self, rows: Iterable[Row], definition: Definition, now: float) -> None:
        self.rows = tuple(rows)
        self.names = tuple(variant.name for variant in definition.variants)
        self.looks = tuple(sorted({_when(row) for row in self.rows if row.part in _KNOWN}))
        self.now_look = int(now * MICRO) // int(definition.look_every * MICRO)
        """The look that is under way; the ones before are complete."""
        window = definition.conversion_window
        self._settles_after = 0 if window is None else ceil(window / definition.look_every)
        self._news = self._by_look()
        self.phases = tuple(sorted({phase for phase, _, _ in self._news}))

    @property
    def anonymous(self) -> int:
        """Conversions without a unit."""
        return sum(row.n for row in self.rows if row.part is Part.ANONYMOUS)

    def seen(self) -> Iterable[tuple[int, Mapping[int, Arms]]]:
        """Yield each look with everything seen until its end, by phase."""
        so_far: dict[int, dict[str, Arm]] = {phase: dict.fromkeys(self.names, NOBODY) for phase in self.phases}
        for look in self.looks:
            for phase in self.phases:
                for name in self.names:
                    so_far[phase][name] += self._news.get((phase, look, name), NOBODY)
            yield look, {phase: dict(arms) for phase, arms in so_far.items()}

    def latest(self) -> Mapping[int, Arms]:
        """Return everything seen so far, by phase."""
        everything = list(self.seen())
        return everything[-1][1] if everything else {}

    def settled(self) -> Iterable[tuple[int, Mapping[int, Mapping[str, Counts]]]]:
        """Yield each look with the users whose outcome became final in it, by phase and variant.

        A converter's is final at the conversion. Anybody else's is final at the end of the look in which the window
        closes (without a window: the look of the exposure); a later conversion does not change it any more.
        """
        entries: defaultdict[tuple[int, int, str], Counts] = defaultdict(lambda: NONE_YET)
        open_users: defaultdict[tuple[int, int, str], int] = defaultdict(int)
        for row in self.rows:
            if row.part is Part.USERS:
                open_users[row.phase, row.look, row.variant] += row.n
            elif row.part is Part.COUNTED and row.at_look <= row.look + self._settles_after:
                open_users[row.phase, row.look, row.variant] -= row.n
                entries[row.phase, row.at_look, row.variant] += Counts(row.n, row.n)
        for (phase, look, variant), count in open_users.items():
            if look + self._settles_after < self.now_look:
                entries[phase, look + self._settles_after, variant] += Counts(count, 0)
        for look in sorted({look for _, look, _ in entries}):
            yield (
                look,
                {
                    phase: {name: entries.get((phase, look, name), NONE_YET) for name in self.names}
                    for phase in self.phases
                },
            )

    def impressions(self) -> Mapping[str, int]:
        """Return the exposures of each variant, repeated ones included."""
        return self._events(Part.USERS)

    def conversions(self) -> Mapping[str, int]:
        """Return the conversions of each variant, repeated ones and those without a unit included."""
        linked, unlinked = self._events(Part.COUNTED), self._events(Part.ANONYMOUS)
        return {name: linked[name] + unlinked[name] for name in self.names}

    def excluded(self) -> Excluded:
        """Return what is left out."""
        events = {part: sum(row.events for row in self.rows if row.part is part) for part in Part}
        apart = sum(row.n for row in self.rows if row.part is Part.APART and not row.events)
        return Excluded(apart, events[Part.APART], events[Part.UNEXPOSED], events[Part.EARLY], events[Part.LATE])

    def _events(self, part: Part) -> dict[str, int]:
        """Return the events of a part by variant."""
        found = dict.fromkeys(self.names, 0)
        for row in self.rows:
            if row.part is part and row.variant in found:
                found[row.variant] += row.events
        return found

    def _by_look(self) -> Mapping[tuple[int, int, str], Arm]:
        """Return what each look brought, by phase, look and variant."""
        news: defaultdict[tuple[int, int, str], Arm] = defaultdict(lambda: NOBODY)
        for row in self.rows:
            if row.part not in _KNOWN or row.variant not in self.names:
                continue
            if row.part is Part.USERS:
                arm = Arm(users=row.n, x=row.x, xx=row.xx)
            else:
                arm = Arm(0, row.n, row.y, row.yy, row.d, row.dd, row.yd, 0.0, 0.0, row.xy)
            news[row.phase, _when(row), row.variant] += arm
        return news


_KNOWN: Sequence[Part] = (Part.USERS, Part.COUNTED, Part.ANONYMOUS)


def _when(row: Row) -> int:
    """Return the look in which a row became known."""
    return row.look if row.part is Part.USERS else row.at_look
