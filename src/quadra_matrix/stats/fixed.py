"""Tests for one planned look: z for rates, Welch for means. Watched live, a nominal 5 % becomes 40 %."""

from __future__ import annotations

from math import acos, copysign, cos, exp, isfinite, log, pi, sqrt

from quadra_matrix.errors import require
from quadra_matrix.stats.arms import Alternative, Comparison, Counts, Interval, Mean, difference_of
from quadra_matrix.stats.special import normal_point, normal_tail, student_point, student_tail

TWO_SIDED = Alternative.TWO_SIDED


def z_test(
    control: Counts,
    treatment: Counts,
    *,
    margin: float = 0.0,
    alternative: Alternative = TWO_SIDED,
    alpha: float = 0.05,
) -> Comparison:
    """Compare two rates by the score test, with Newcombe's interval of the difference.

    ``margin`` is the difference under the null, in points: -0.01 with ``GREATER`` asks whether treatment is less than
    one point worse. Without a margin this is the pooled z-test, no continuity correction.
    """
    require(-1 < margin < 1, "margin", margin, "between -1 and 1")
    _require_alpha(alpha)
    if not (control.total and treatment.total):
        return Comparison(reason="an arm is empty")
    p, q = control.events / control.total, treatment.events / treatment.total
    found = difference_of(p, q)
    error = rate_error(control, treatment, margin=margin)
    if not error:
        return found.without_test("nobody or everybody had the event: there is nothing to compare")
    z = (q - p - margin) / error
    return Comparison(
        found.difference,
        found.lift,
        z,
        _p_value(z, alternative),
        newcombe(control, treatment, alternative=alternative, alpha=alpha),
        found.reason,
    )


def rate_error(control: Counts, treatment: Counts, *, margin: float = 0.0) -> float:
    """Return the standard error of the difference of two rates where it is truly ``margin``. Arms must not be empty."""
    p = _rate_under_null(control, treatment, margin)
    q = min(1.0, max(0.0, p + margin))
    return sqrt(p * (1 - p) / control.total + q * (1 - q) / treatment.total)


def wilson(counts: Counts, *, alpha: float = 0.05) -> Interval | None:
    """Return Wilson's score interval of a rate; None for an empty arm."""
    _require_alpha(alpha)
    return _wilson(counts, normal_point(alpha / 2)) if counts.total else None


def newcombe(
    control: Counts, treatment: Counts, *, alternative: Alternative = TWO_SIDED, alpha: float = 0.05
) -> Interval | None:
    """Return Newcombe's interval of the difference of two rates; None when an arm is empty."""
    _require_alpha(alpha)
    if not (control.total and treatment.total):
        return None
    z = normal_point(_each_side(alternative, alpha))
    p, q = control.events / control.total, treatment.events / treatment.total
    p_low, p_high = _wilson_limits(control, z)
    q_low, q_high = _wilson_limits(treatment, z)
    low = q - p - sqrt((q - q_low) * (q - q_low) + (p_high - p) * (p_high - p))
    high = q - p + sqrt((q_high - q) * (q_high - q) + (p - p_low) * (p - p_low))
    return _sided(low, high, alternative)


def welch(
    control: Mean,
    treatment: Mean,
    *,
    margin: float = 0.0,
    alternative: Alternative = TWO_SIDED,
    alpha: float = 0.05,
) -> Comparison:
    """Compare two means whose variances may differ. Takes plain means, ratios and adjusted means alike."""
    _require_alpha(alpha)
    if control.value is None or treatment.value is None:
        return Comparison(reason=control.reason or treatment.reason)
    found = difference_of(control.value, treatment.value)
    if control.variance is None or treatment.variance is None or found.difference is None:
        return found.without_test(control.reason or treatment.reason or found.reason or "")
    of_control, of_treatment = control.variance / control.n, treatment.variance / treatment.n
    error = sqrt(of_control + of_treatment)
    t = (found.difference - margin) / error if error else float("nan")
    if not isfinite(t):
        return found.without_test("the metric does not vary, or varies too much to compute with")
    share = of_control / (of_control + of_treatment)
    freedom = 1 / (share * share / (control.n - 1) + (1 - share) * (1 - share) / (treatment.n - 1))
    reach = error * student_point(_each_side(alternative, alpha), freedom)
    low, high = found.difference - reach, found.difference + reach
    if not isfinite(high - low):
        return found.without_test("the interval is too wide to compute")
    interval = _sided(low, high, alternative)
    return Comparison(found.difference, found.lift, t, _p_value(t, alternative, freedom), interval, found.reason)


def relative(control: Mean, treatment: Mean, *, alpha: float = 0.05) -> Interval | None:
    """Return the interval of the lift by the delta method on logarithms; None unless both means are above 0."""
    _require_alpha(alpha)
    centre, spread = 0.0, 0.0
    for sign, arm in ((-1, control), (1, treatment)):
        if arm.value is None or arm.variance is None or arm.value <= 0:
            return None
        centre += sign * log(arm.value)
        spread += arm.variance / arm.value / arm.value / arm.n
    reach = normal_point(alpha / 2) * sqrt(spread)
    if not centre + reach < 700:
        return None
    return Interval(exp(centre - reach) - 1, exp(centre + reach) - 1)


def _rate_under_null(control: Counts, treatment: Counts, margin: float) -> float:
    """Return control's most likely rate if treatment's were ``margin`` above it (Farrington & Manning 1990)."""
    both = control.total + treatment.total
    if not margin:
        return (control.events + treatment.events) / both
    share_t, share_c = treatment.total / both, control.total / both
    p, q = control.events / control.total, treatment.events / treatment.total
    # The likelihood's derivative over both users, as a cubic x^3 + b x^2 + c x + d of treatment's rate.
    b = -(1 + share_t * q + share_c * p + margin * (1 + share_t))
    c = share_t * margin * margin + margin * (2 * share_t * q + 1) + share_t * q + share_c * p
    d = -share_t * q * margin * (1 + margin)
    third = b / 3
    v = third * third * third - b * c / 6 + d / 2
    u = copysign(sqrt(max(0.0, third * third - c / 3)), v)
    angle = acos(min(1.0, max(-1.0, v / (u * u * u)))) if u else pi / 2
    top = 2 * u * cos((pi + angle) / 3) - third
    return min(min(1.0, 1.0 - margin), max(max(0.0, -margin), top - margin))


def _wilson(counts: Counts, z: float) -> Interval:
    low, high = _wilson_limits(counts, z)
    return Interval(low, high)


def _wilson_limits(counts: Counts, z: float) -> tuple[float, float]:
    n, p, square = counts.total, counts.events / counts.total, z * z
    centre = (p + square / (2 * n)) / (1 + square / n)
    reach = z * sqrt(p * (1 - p) / n + square / (4 * n * n)) / (1 + square / n)
    # At 0 and n events a limit is exactly 0 or 1; rounding must not push it past the rate.
    return min(p, max(0.0, centre - reach)), max(p, min(1.0, centre + reach))


def _each_side(alternative: Alternative, alpha: float) -> float:
    return alpha / 2 if alternative is TWO_SIDED else alpha


def _sided(low: float, high: float, alternative: Alternative) -> Interval:
    """Drop the limit that the alternative does not ask about."""
    if alternative is Alternative.GREATER:
        return Interval(low, None)
    return Interval(None, high) if alternative is Alternative.LESS else Interval(low, high)


def _p_value(statistic: float, alternative: Alternative, freedom: float | None = None) -> float:
    """Return the p-value of z, or of t when ``freedom`` is given."""

    def tail(x: float) -> float:
        return normal_tail(x) if freedom is None else student_tail(x, freedom)

    if alternative is TWO_SIDED:
        return min(1.0, 2 * tail(abs(statistic)))
    return tail(statistic if alternative is Alternative.GREATER else -statistic)


def _require_alpha(alpha: float) -> None:
    require(0 < alpha < 1, "alpha", alpha, "between 0 and 1")
