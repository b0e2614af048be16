"""A trace as a picture of text: what called what, when, and how long it took."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from quadra_matrix.telemetry.span import Span

LONGEST_NAME = 40
"""Characters of a span's name and its indentation."""


def waterfall(spans: Sequence[Span], width: int = 100) -> list[str]:
    """Return a line for each span, its bar placed on the trace's time; ``width`` is that of the terminal.

    A span whose parent is not there is drawn as a root: the parent may not have arrived, or have been dropped.
    """
    if not spans:
        return []
    first, last = min(span.start for span in spans), max(span.end for span in spans)
    bar = max(10, width - LONGEST_NAME - 14)
    return [_line(depth, span, first, max(1, last - first), bar) for depth, span in _in_order(spans)]


def _in_order(spans: Sequence[Span]) -> Iterator[tuple[int, Span]]:
    """Yield each span once, after its parent, with its depth."""
    known = {span.span_id for span in spans}
    children: dict[str | None, list[Span]] = {}
    for span in sorted(spans, key=lambda span: (-span.start, span.end)):  # reversed: the last is taken first
        children.setdefault(span.parent_id if span.parent_id in known else None, []).append(span)
    waiting = [(0, span) for span in children.pop(None, [])]
    while waiting or children:
        if not waiting:  # spans that name each other as parents: strangers may send them
            waiting = [(0, span) for span in children.pop(next(iter(children)))]
        depth, span = waiting.pop()
        yield depth, span
        waiting += [(depth + 1, child) for child in children.pop(span.span_id, [])]


def _line(depth: int, span: Span, first: int, total: int, bar: int) -> str:
    name = _printable("  " * min(depth, 12) + span.name)
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 1] + "…"
    begin = min(bar - 1, (span.start - first) * bar // total)
    length = max(1, min(bar - begin, (span.end - span.start) * bar // total))
    drawn = " " * begin + ("!" if span.error is not None else "=") * length
    return f"{name:<{LONGEST_NAME}} {span.seconds * 1e3:>9.1f} ms {drawn}"


def _printable(text: str) -> str:
    """Return text without what a terminal would obey: names come from strangers."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
