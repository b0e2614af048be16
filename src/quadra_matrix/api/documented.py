"""The decorator that refines what the documents say about a view, and changes nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from quadra_matrix.api.operation import Refinement

REFINEMENT = "__quadra_refinement__"
"""The attribute under which a view carries what its author says about it."""

View = TypeVar("View", bound=Callable[..., Any])


def documented(
    *,
    tags: Iterable[str] | None = None,
    security: Iterable[str] | None = None,
    body_media: Iterable[str] = ("application/json",),
    responses: Mapping[int, Any] | None = None,
    examples: Mapping[str, Any] | None = None,
    **words: Any,
) -> Callable[[View], View]:
    """Say about a view what its signature and docstring do not; takes the fields of ``Refinement`` by name."""
    refinement = Refinement(
        tags=None if tags is None else tuple(tags),
        security=None if security is None else tuple(security),
        body_media=tuple(body_media),
        responses=dict(responses or {}),
        examples=dict(examples or {}),
        **words,
    )

    def refine(view: View) -> View:
        setattr(view, REFINEMENT, refinement)
        return view

    return refine
