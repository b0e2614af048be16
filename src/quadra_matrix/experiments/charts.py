"""Results as SVG without scripts, styles or fonts from elsewhere: it passes a strict content policy. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from quadra_matrix.experiments.results import Point, Results, VariantResult

WIDTH, HEIGHT, LEFT, TOP = 640, 220, 64, 28
"""Of a chart, and of its margins, in pixels."""

PLOT_WIDTH, PLOT_HEIGHT = WIDTH - LEFT - 20, HEIGHT - TOP - 36

COLOURS = ("#1f5fa8", "#b3541e", "#2e7d4f", "#7a3e9d", "#8a6d00")
"""Each has a contrast of 4.5 or more on white."""


def history_svg(results: Results) -> str:
    """Return the difference to the control over time, with the interval that holds at every look."""
    points = [point for point in results.history if point.difference is not None]
    title = f"Difference to {results.control} over time"
    if not points:
        return _chart(title, [_text(WIDTH / 2, HEIGHT / 2, "nothing to show yet", "middle")])
    limits = [0.0, *(value for point in points for value in _values(point))]
    low, high = min(limits), max(limits)
    start, end = min(point.at for point in points), max(point.at for point in points)
    high = high if high > low else low + 1.0

    def x(at: float) -> float:
        return LEFT + PLOT_WIDTH * ((at - start) / (end - start) if end > start else 0.5)

    def y(value: float) -> float:
        return TOP + PLOT_HEIGHT * (high - value) / (high - low)

    parts = [_line(LEFT, y(0), LEFT + PLOT_WIDTH, y(0), "#555")]
    parts += [_text(LEFT - 6, y(value) + 4, f"{value:+.3g}", "end") for value in sorted({low, 0.0, high})]
    names = sorted({point.variant for point in points})
    for number, name in enumerate(names):
        colour = COLOURS[number % len(COLOURS)]
        mine = [point for point in points if point.variant == name]
        for point in mine:
            if point.interval is not None and point.interval.low is not None and point.interval.high is not None:
                parts.append(_line(x(point.at), y(point.interval.low), x(point.at), y(point.interval.high), colour))
        path = " ".join(f"{x(point.at):.1f},{y(point.difference or 0.0):.1f}" for point in mine)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [_dot(x(point.at), y(point.difference or 0.0), colour) for point in mine]
        parts.append(_text(LEFT + 110 * number, HEIGHT - 8, f"● {name}", "start", colour))
    return _chart(title, parts)


def rates_svg(results: Results) -> str:
    """Return the conversion rate of every variant with its interval."""
    shown = [variant for variant in results.variants if variant.conversion_rate is not None]
    title = "Conversion rate by variant"
    if not shown:
        return _chart(title, [_text(WIDTH / 2, HEIGHT / 2, "nothing to show yet", "middle")])
    top = max(_highest(variant) for variant in shown) or 1.0
    step = PLOT_HEIGHT / len(shown)
    parts = []
    for number, variant in enumerate(shown):
        rate, middle = variant.conversion_rate or 0.0, TOP + step * (number + 0.5)
        colour = COLOURS[number % len(COLOURS)]
        length = PLOT_WIDTH * rate / top
        parts.append(
            f'<rect x="{LEFT}" y="{middle - step * 0.3:.1f}" width="{length:.1f}" height="{step * 0.6:.1f}" '
            f'fill="{colour}" fill-opacity="0.35"/>'
        )
        if variant.interval is not None and variant.interval.low is not None and variant.interval.high is not None:
            scale = PLOT_WIDTH / top
            ends = (LEFT + scale * variant.interval.low, LEFT + scale * variant.interval.high)
            parts.append(_line(ends[0], middle, ends[1], middle, colour))
        label = f"{variant.name}: {rate:.2%} of {variant.users}"
        parts.append(_text(LEFT + 6, middle + 4, label, "start"))
    return _chart(title, parts)


def results_html(results: Results) -> str:
    """Return both charts and the decision, for a notebook."""
    decision = results.decision
    said = f"{escape(results.experiment)}: {escape(str(decision.verdict))} ({escape(decision.reason)})"
    return f"<div><p>{said}</p>{history_svg(results)}{rates_svg(results)}</div>"


def _values(point: Point) -> Iterable[float]:
    """Yield every number that a point shows."""
    if point.difference is not None:
        yield point.difference
    if point.interval is not None:
        yield from (value for value in (point.interval.low, point.interval.high) if value is not None)


def _highest(variant: VariantResult) -> float:
    """Return the right end of a variant's bar and interval."""
    interval = variant.interval
    return max(variant.conversion_rate or 0.0, interval.high if interval and interval.high is not None else 0.0)


def _chart(title: str, parts: Sequence[str]) -> str:
    """Return a chart; presentation is in attributes, as a strict content policy forbids styles."""
    inside = "".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="sans-serif" font-size="12"><title>{escape(title)}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{_text(LEFT, 18, title, "start")}{inside}</svg>'
    )


def _text(x: float, y: float, text: str, anchor: str, colour: str = "#222") -> str:
    """Return one text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, colour: str) -> str:
    """Return one line."""
    return f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{to_x:.1f}" y2="{to_y:.1f}" stroke="{colour}" stroke-width="1.5"/>'


def _dot(x: float, y: float, colour: str) -> str:
    """Return one dot."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
