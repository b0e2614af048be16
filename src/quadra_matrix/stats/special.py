"""Tails of the normal, Student and chi-square distributions, from ``math`` alone: importing scipy takes seconds."""

from __future__ import annotations

from math import erfc, exp, lgamma, log, log1p, sqrt
from statistics import NormalDist

_NORMAL = NormalDist()
_ROOT_HALF = sqrt(0.5)
_TINY = 1e-300
_FARTHEST = 1e150
"""Beyond this a t would overflow when squared."""


def normal_tail(z: float) -> float:
    """Return P(Z > z), accurate far out in the tail."""
    return 0.5 * erfc(z * _ROOT_HALF)


def normal_point(tail: float) -> float:
    """Return the z with P(Z > z) = tail, for a tail strictly between 0 and 1."""
    return -_NORMAL.inv_cdf(tail)


def log_beta(a: float, b: float) -> float:
    """Return the logarithm of the beta function."""
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def student_tail(t: float, freedom: float) -> float:
    """Return P(T > t) with ``freedom`` degrees of freedom, whole or not."""
    if t < 0:
        return 1.0 - student_tail(-t, freedom)
    t = min(t, _FARTHEST)
    if freedom > 500:
        return normal_tail(_as_normal(t, freedom))
    return 0.5 * _beta_ratio(freedom / 2, 0.5, freedom / (freedom + t * t))


def student_point(tail: float, freedom: float) -> float:
    """Return the t with P(T > t) = tail, for a tail strictly between 0 and a half; at most 1e150."""
    low, high = 0.0, 2.0
    while high < _FARTHEST and student_tail(high, freedom) > tail:
        low, high = high, high * 2
    while high - low > 1e-13 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > tail else (low, middle)
    return high


def chi_square_tail(x: float, freedom: int) -> float:
    """Return P(chi-square > x) for whole degrees of freedom: a finite sum."""
    half = x / 2
    if freedom % 2:
        total, power = erfc(sqrt(half)), 0.5
    else:
        total, power = 0.0, 0.0
    while power < freedom / 2:
        total += exp(power * log(half) - half - lgamma(power + 1)) if half > 0 else float(power == 0)
        power += 1
    return min(1.0, total)


def _as_normal(t: float, freedom: float) -> float:
    """Return the z whose tail equals that of t (Hill, Algorithm 395, CACM 1970): 12 digits above 500 degrees."""
    shifted = freedom - 0.5
    scale = 48.0 * shifted * shifted
    square = shifted * log1p(t * t / freedom)
    cubic = ((-0.4 * square - 3.3) * square - 24.0) * square - 85.5
    return sqrt(square) * ((cubic / (0.8 * square * square + 100.0 + scale) + square + 3.0) / scale + 1.0)


def _beta_ratio(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    front = exp(a * log(x) + b * log1p(-x) - log_beta(a, b))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction of the incomplete beta function (Lentz's method; DLMF 8.17.22)."""
    ratio_up, ratio_down = 1.0, 1.0 / _away_from_zero(1.0 - (a + b) * x / (a + 1))
    value, change, m = ratio_down, 0.0, 0
    while abs(change - 1.0) > 1e-14:  # some square root of a + b steps
        m += 1
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for step in (even, odd):
            ratio_down = 1.0 / _away_from_zero(1.0 + step * ratio_down)
            ratio_up = _away_from_zero(1.0 + step / ratio_up)
            change = ratio_down * ratio_up
            value *= change
    return value


def _away_from_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY
