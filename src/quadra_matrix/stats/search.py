"""Bisection towards the end of an interval."""

from __future__ import annotations

from collections.abc import Callable


def edge(excluded: Callable[[float], bool], outside: float, inside: float, *, tolerance: float = 0.0) -> float:
    """Return where an interval ends between an excluded and an included number; the answer is never inside it."""
    for _ in range(60):
        middle = (outside + inside) / 2
        if middle in (outside, inside) or abs(outside - inside) <= tolerance:
            break
        outside, inside = (middle, inside) if excluded(middle) else (outside, middle)
    return outside
