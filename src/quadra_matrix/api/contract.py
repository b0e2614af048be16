"""What a view promises by its signature: the types of its request and of its answers."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from quadra_matrix.errors import require

PARTS = ("body", "query", "path", "headers")
"""The parts of a request that a view may ask for, by the names of its parameters."""


class _FromHints:
    """The default of every part: what the signature says."""

    def __repr__(self) -> str:
        return "FROM_HINTS"


FROM_HINTS: Any = _FromHints()


@dataclass(frozen=True, slots=True)
class Contract:
    """Types of one view; None where there is none."""

    body: Any = None
    query: Any = None
    path: Any = None
    headers: Any = None
    response: Any = None
    """The answer of ``status``."""
    status: int = 200
    responses: Mapping[int, Any] = field(default_factory=dict)
    """Further statuses and the types of their answers; None for an answer without a body."""

    def __post_init__(self) -> None:
        require(100 <= self.status <= 599, "status", self.status, "between 100 and 599")
        require(self.status not in self.responses, "responses", self.status, "other statuses than the main one")

    @property
    def takes(self) -> tuple[str, ...]:
        """Names of the request parts that the view asks for."""
        return tuple(part for part in PARTS if getattr(self, part) is not None)

    @property
    def body_is_optional(self) -> bool:
        """Tell whether the view accepts a request without a body."""
        return allows_none(self.body)


def allows_none(kind: Any) -> bool:
    """Tell whether None is a value of the type."""
    return kind is None or type(None) in typing.get_args(kind)


def hints_of(view: Callable[..., Any]) -> dict[str, Any]:
    """Return the resolved type hints of a view; hints with a name that nobody knows stay strings."""
    view = inspect.unwrap(view)
    try:
        return typing.get_type_hints(view, localns=_names_around(view), include_extras=True)
    except (NameError, TypeError, AttributeError):
        return dict(getattr(view, "__annotations__", {}))


def _names_around(view: Callable[..., Any]) -> dict[str, Any]:
    """Return the local names of the function that is defining the view right now, as create_app does with its own."""
    around = getattr(view, "__qualname__", "").rpartition(".<locals>.")[0]
    frame = inspect.currentframe() if around else None
    while frame is not None and frame.f_code.co_qualname != around:
        frame = frame.f_back
    return dict(frame.f_locals) if frame is not None else {}


def answer_of(hint: Any, *, raw: tuple[type, ...] = ()) -> Any:
    """Return the type of the body that a return hint names, or None where it names none.

    A tuple of body, status and headers, as Flask takes it, counts as its body. ``raw`` are the classes of ready
    responses, whose body nobody knows.
    """
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        options = [_body_of(option) for option in typing.get_args(hint)]
        known = dict.fromkeys(option for option in options if option is not Any and not _is_raw(option, raw))
        return typing.Union[tuple(known)] if known.keys() - {type(None)} else None  # noqa: UP007  built from a list
    hint = _body_of(hint)
    return None if hint in (None, type(None), Any) or _is_raw(hint, raw) else hint


def _body_of(hint: Any) -> Any:
    """Return the first member of the tuple that Flask takes, or the hint itself."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple and typing.get_args(hint) else hint


def _is_raw(hint: Any, raw: tuple[type, ...]) -> bool:
    """Tell whether a hint is a class of ready responses."""
    return isinstance(hint, type) and issubclass(hint, raw)


def contract_of(
    view: Callable[..., Any],
    *,
    given: Mapping[str, Any],
    status: int = 200,
    responses: Mapping[int, Any] | None = None,
    raw: tuple[type, ...] = (),
) -> Contract:
    """Return the contract of a view: what is ``given``, and what its signature says where that is FROM_HINTS."""
    hints = hints_of(view)
    chosen: dict[str, Any] = {}
    for part in PARTS:
        kind = given.get(part, FROM_HINTS)
        chosen[part] = hints.get(part) if kind is FROM_HINTS else kind
    answer = given.get("response", FROM_HINTS)
    chosen["response"] = answer_of(hints.get("return"), raw=raw) if answer is FROM_HINTS else answer
    for part, kind in chosen.items():
        require(
            not isinstance(kind, str),
            f"{part} of {view.__qualname__}",
            kind,
            f"a type that exists when the view is decorated; define it before, or pass {part}=...",
        )
    return Contract(**chosen, status=status, responses=dict(responses or {}))
