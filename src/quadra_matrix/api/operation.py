"""What one method of one path does, before it is written down in any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quadra_matrix.api.contract import Contract
from quadra_matrix.api.problem import Problem


@dataclass(frozen=True, slots=True)
class PathParameter:
    """One variable part of a path."""

    name: str
    schema: Mapping[str, Any]
    """JSON Schema of the text between two slashes."""


@dataclass(frozen=True, slots=True)
class Refinement:
    """What an author says about a view beyond its signature and docstring."""

    summary: str | None = None
    description: str | None = None
    tags: tuple[str, ...] | None = None
    operation_id: str | None = None
    deprecated: bool = False
    security: tuple[str, ...] | None = None
    """Names of the security schemes, any one of which lets a caller in; empty for a public view."""
    scopes: tuple[str, ...] = ()
    """What a caller's credential must be allowed."""
    is_open: bool = False
    """Tells whether some callers are let in without a credential too."""
    body: Any = None
    """Type of a body that the view reads by itself."""
    body_media: tuple[str, ...] = ("application/json",)
    """Media types of that body; of ``bytes``, the files that the view takes."""
    response: Any = None
    """Type of an answer that the view makes by itself."""
    responses: Mapping[int, Any] = field(default_factory=dict)
    """Further statuses and their types."""
    media: str | None = None
    """Media type of the answer, where it is not JSON."""
    examples: Mapping[str, Any] = field(default_factory=dict)
    """Example bodies by name; they must be accepted."""
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One documented method of one path."""

    method: str
    """Lower case."""
    path: str
    """As OpenAPI writes it: ``/jobs/{job}``."""
    operation_id: str
    endpoint: str = ""
    """The name under which the app knows the view."""
    contract: Contract = field(default_factory=Contract)
    is_validated: bool = False
    """Tells whether something checks the contract; a promise that nobody checks has fewer error answers."""
    answers_problems: bool = False
    """Tells whether errors of the app are problem documents."""
    parameters: tuple[PathParameter, ...] = ()
    summary: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    refined: Refinement = field(default_factory=Refinement)

    def answers(self) -> dict[int, Any]:
        """Return every status that can happen with the type of its body, in order.

        The statuses follow from what the operation reads: a body can be malformed (400), too large (413), of another
        media type (415) or of another shape (422); a variable path can miss (404); a guarded one can be closed.
        """
        found: dict[int, Any] = {}
        if self.contract.response is not None or self.is_validated or self.refined.response is not None:
            found[self.contract.status] = self.refined.response or self.contract.response
        if self.is_validated and self.contract.body is not None:
            found |= dict.fromkeys((400, 413, 415, 422), Problem)
        if self.is_validated and set(self.contract.takes) - {"body"}:
            found[422] = Problem
        if self.answers_problems:
            found |= dict.fromkeys((404, 500) if self.parameters else (500,), Problem)
            if self.refined.security:
                found |= dict.fromkeys((401, 403), Problem)
        return dict(sorted((found | {**self.contract.responses, **self.refined.responses}).items()))


@dataclass(frozen=True, slots=True)
class Info:
    """The head of a document."""

    title: str
    version: str
    description: str | None = None
    security_schemes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """OpenAPI security scheme objects by name."""
    schemas: Sequence[Any] = ()
    """Types that are in the document even if no operation uses them."""
