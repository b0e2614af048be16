"""What the server sends back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from quadra_matrix.testing.kubernetes.objects import Json

JSON_TYPE = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: bytes
    type: str = JSON_TYPE
    warnings: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, body: Json, status: int = 200, warnings: tuple[str, ...] = ()) -> Answer:
        """Return an answer that holds a document."""
        return cls(status, json.dumps(body).encode() + b"\n", warnings=warnings)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on until its end or the client's."""

    parts: Iterator[bytes]
    type: str = JSON_TYPE
