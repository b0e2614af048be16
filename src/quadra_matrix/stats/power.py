"""Before the data: how many users a test needs, how small an effect it can see, how long it takes."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, isfinite, sqrt

from quadra_matrix.errors import require
from quadra_matrix.stats.arms import Alternative
from quadra_matrix.stats.search import edge
from quadra_matrix.stats.special import normal_point, normal_tail

ONE_LOOK = 1.0
GROUP_SEQUENTIAL = 1.05
"""What ``sequential.groups`` needs, as a multiple of a single look's users, for the same power."""
ANY_TIME = 1.65
"""What ``sequential.randomisation`` and ``sequential.confidence`` need."""
_MOST = 1e15


@dataclass(frozen=True, slots=True)
class Question:
    """What a test is to find out, and how surely."""

    alpha: float = 0.05
    power: float = 0.8
    """The chance to find the effect if it is there."""
    share: float = 0.5
    """Treatment's share of the users of both arms."""
    alternative: Alternative = Alternative.TWO_SIDED
    inflation: float = ONE_LOOK
    """Users as a multiple of those of a single look: ``GROUP_SEQUENTIAL`` or ``ANY_TIME``."""

    def __post_init__(self) -> None:
        require(0 < self.alpha < self.power < 1, "power", self.power, f"above alpha ({self.alpha}) and below 1")
        require(0 < self.share < 1, "share", self.share, "between 0 and 1")
        require(self.inflation >= 1, "inflation", self.inflation, "at least 1")

    @property
    def z(self) -> float:
        """How many standard errors the test asks for."""
        return normal_point(self.alpha / 2 if self.alternative is Alternative.TWO_SIDED else self.alpha)


USUAL = Question()


@dataclass(frozen=True, slots=True)
class Size:
    """Users that a test needs."""

    control: int | None = None
    treatment: int | None = None
    reason: str | None = None
    """Why there is no size."""

    @property
    def users(self) -> int | None:
        """In both arms."""
        return None if self.control is None or self.treatment is None else self.control + self.treatment


@dataclass(frozen=True, slots=True)
class Effect:
    """The smallest difference that a test can be expected to find."""

    difference: float | None = None
    lift: float | None = None
    """As a share of control's value."""
    reason: str | None = None
    """Why a value above is None."""


def size_for_rates(baseline: float, difference: float, question: Question = USUAL) -> Size:
    """Return the users needed to see control's rate ``baseline`` change by ``difference``, in points."""
    _require_rate(baseline)
    if not 0 < baseline + difference < 1:
        return Size(reason=f"{baseline} changed by {difference} is not a rate between 0 and 1")
    null, alternative = _rate_deviations(baseline, difference, question.share)
    return _size(question.z * null + normal_point(1 - question.power) * alternative, difference, question)


def size_for_means(deviation: float, difference: float, question: Question = USUAL) -> Size:
    """Return the users needed to see a metric with this standard deviation change by ``difference``."""
    _require_deviation(deviation)
    spread = deviation / sqrt(question.share * (1 - question.share))
    return _size((question.z + normal_point(1 - question.power)) * spread, difference, question)


def power_for_rates(baseline: float, difference: float, users: int, question: Question = USUAL) -> float | None:
    """Return the chance to see the difference with this many users of both arms; None if it leaves 0 to 1."""
    _require_rate(baseline)
    if not 0 < baseline + difference < 1:
        return None
    null, alternative = _rate_deviations(baseline, difference, question.share)
    return _power(difference, null, alternative, users, question)


def power_for_means(deviation: float, difference: float, users: int, question: Question = USUAL) -> float:
    """Return the chance to see the difference with this many users of both arms."""
    _require_deviation(deviation)
    spread = deviation / sqrt(question.share * (1 - question.share))
    return _power(difference, spread, spread, users, question)


def detectable_rate(baseline: float, users: int, question: Question = USUAL) -> Effect:
    """Return the smallest change of a rate that this many users of both arms show: a rise, or a fall for ``LESS``."""
    _require_rate(baseline)
    sign = -1 if question.alternative is Alternative.LESS else 1
    room = baseline if sign < 0 else 1 - baseline

    def found(step: float) -> bool:
        return (power_for_rates(baseline, sign * step, users, question) or 0.0) >= question.power

    if not found(room * (1 - 1e-9)):
        return Effect(reason="too few users: no change of this rate would show")
    difference = sign * edge(found, room * (1 - 1e-9), 0.0)
    return Effect(difference, difference / baseline)


def detectable_mean(baseline: float, deviation: float, users: int, question: Question = USUAL) -> Effect:
    """Return the smallest change of a mean that this many users of both arms show."""
    _require_deviation(deviation)
    require(users >= 0, "users", users, "at least 0")
    if not users:
        return Effect(reason="no users")
    spread = deviation / sqrt(question.share * (1 - question.share) * users / question.inflation)
    difference = (question.z + normal_point(1 - question.power)) * spread
    sign = -1 if question.alternative is Alternative.LESS else 1
    if not isfinite(difference):
        return Effect(reason="the deviation is too large to compute with")
    lift = sign * difference / baseline if baseline else None
    if lift is None or not isfinite(lift):
        return Effect(sign * difference, reason="the baseline is 0: there is no lift")
    return Effect(sign * difference, lift)


def days_for(size: Size, users_a_day: float) -> int | None:
    """Return the whole days until both arms have their users; None without a size or without users."""
    if size.users is None or not users_a_day > 0:
        return None
    days = size.users / users_a_day
    return ceil(days) if days < _MOST else None


def _size(spread: float, difference: float, question: Question) -> Size:
    """Return the size at which ``difference`` is ``spread`` standard errors of one user."""
    root = abs(spread / difference) if difference else _MOST
    if not root * root * question.inflation < _MOST:
        return Size(reason="the difference is too small to be seen with any number of users")
    users = root * root * question.inflation
    return Size(ceil(users * (1 - question.share)), ceil(users * question.share))


def _power(difference: float, null: float, alternative: float, users: int, question: Question) -> float:
    """Return the chance to pass the bound; deviations are of the estimate from one user."""
    require(users >= 0, "users", users, "at least 0")
    root = sqrt(users / question.inflation)
    towards = -difference if question.alternative is Alternative.LESS else difference
    if question.alternative is Alternative.TWO_SIDED:
        towards = abs(difference)
    above = normal_tail((question.z * null - towards * root) / alternative)
    if question.alternative is not Alternative.TWO_SIDED:
        return above
    return min(1.0, above + normal_tail((question.z * null + towards * root) / alternative))


def _rate_deviations(baseline: float, difference: float, share: float) -> tuple[float, float]:
    """Return what one user's deviation of the estimate is: pooled, as the z-test takes it, and in truth."""
    rate = baseline + difference
    pooled = (1 - share) * baseline + share * rate
    null = sqrt(pooled * (1 - pooled) / (share * (1 - share)))
    return null, sqrt(baseline * (1 - baseline) / (1 - share) + rate * (1 - rate) / share)


def _require_rate(baseline: float) -> None:
    require(0 < baseline < 1, "baseline", baseline, "between 0 and 1")


def _require_deviation(deviation: float) -> None:
    require(0 < deviation < 1e300, "deviation", deviation, "above 0")
