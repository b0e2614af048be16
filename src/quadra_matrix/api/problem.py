"""Problem documents (RFC 9457): what a refused or failed request is told. Values only; no web framework."""

from __future__ import annotations

import dataclasses
import http
import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from quadra_matrix.errors import QuadraError

MEDIA_TYPE = "application/problem+json"

NAMESPACE = "urn:quadra-matrix:problem:"
"""Begins the type of every problem that says more than its status."""

MOST_ERRORS = 100
"""Errors one problem document lists; the detail tells how many there were."""

Location = Literal["body", "query", "path", "header"]
"""The part of a request that an error is about."""

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_UNSAFE_IN_FRAGMENT = re.compile(r"[^A-Za-z0-9\-._~!$&'()*+,;=:@/?]")


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with one place of a request."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    detail: str
    """What is wrong, in words for people. Never the refused value."""
    pointer: str = "#"
    """Where: a JSON Pointer (RFC 6901) as a URI fragment; ``#`` is the whole part."""
    location: Location = "body"
    """The part of the request that the pointer starts from."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What went wrong with one request, as RFC 9457 writes it."""

    __schema_name__: ClassVar[str] = "ErrorResponse"
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(use_attribute_docstrings=True)

    status: int
    """The HTTP status of the answer."""
    title: str
    """What kind of problem this is; the same words every time it happens."""
    detail: str | None = None
    """What happened this time."""
    type: str = "about:blank"
    """An address that names the kind of problem; ``about:blank`` says no more than the status does."""
    instance: str | None = None
    """The path of the request."""
    trace_id: str | None = None
    """The id under which logs and traces keep this request: 32 hexadecimal digits."""
    errors: tuple[FieldError, ...] = ()
    """Every error that was found, each with its place; at most 100."""

    def at(self, instance: str, trace_id: str) -> Problem:
        """Return the problem as it happened to one request."""
        return dataclasses.replace(self, instance=instance, trace_id=trace_id)

    def to_json(self) -> bytes:
        """Return the document; members that say nothing are left out."""
        said = {key: value for key, value in dataclasses.asdict(self).items() if value not in (None, ())}
        return json.dumps(said, ensure_ascii=True, allow_nan=False).encode()


def of_status(status: int, detail: str | None = None) -> Problem:
    """Return the problem that a bare HTTP status stands for."""
    if status in _OF_STATUS:
        return _OF_STATUS[status].problem(detail)
    try:
        title = http.HTTPStatus(status).phrase
    except ValueError:
        title = "Error"
    return Problem(status=status, title=title, detail=detail)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is the same about a problem every time it happens."""

    name: str
    """Words joined by hyphens; the type of the problem ends in it, so it never changes."""
    status: int
    title: str

    @property
    def type(self) -> str:
        """Return the address that names the kind."""
        return NAMESPACE + self.name

    def problem(self, detail: str | None = None, errors: Sequence[FieldError] = ()) -> Problem:
        """Return a problem that lists the first ``MOST_ERRORS`` errors and says how many there were."""
        if detail is None and len(errors) > MOST_ERRORS:
            detail = f"{len(errors)} errors; the first {MOST_ERRORS} are listed"
        return Problem(
            status=self.status, title=self.title, detail=detail, type=self.type, errors=tuple(errors[:MOST_ERRORS])
        )


MALFORMED_JSON = Kind("malformed-json", 400, "The body is not valid JSON")
INCOMPLETE_BODY = Kind("incomplete-body", 400, "The body ended before its announced length")
BODY_TOO_LARGE = Kind("body-too-large", 413, "The body is too large")
UNSUPPORTED_MEDIA_TYPE = Kind("unsupported-media-type", 415, "The body is of a media type that is not taken")
INVALID_REQUEST = Kind("invalid-request", 422, "The request does not fit its schema")

REQUEST_KINDS = (MALFORMED_JSON, INCOMPLETE_BODY, BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, INVALID_REQUEST)
"""What can be wrong with a request before anybody asks what it means."""

_OF_STATUS = {kind.status: kind for kind in (BODY_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE)}
"""Statuses that mean one kind wherever they come from."""


def kind_of(error: type[QuadraError], status: int) -> Kind:
    """Return the kind of problem that a class of errors is: its name tells both type and title.

    >>> from quadra_matrix.errors import UnknownModel
    >>> kind_of(UnknownModel, 404)
    Kind(name='unknown-model', status=404, title='Unknown model')
    """
    words = _WORD_START.split(error.__name__)
    return Kind("-".join(words).lower(), status, " ".join(words).capitalize())


def pointer(*steps: str | int) -> str:
    """Return the JSON Pointer to a place, as a URI fragment.

    >>> pointer("rows", 0, "a/b")
    '#/rows/0/a~1b'
    """
    escaped = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "#" + _UNSAFE_IN_FRAGMENT.sub(_percent, escaped)


def _percent(found: re.Match[str]) -> str:
    """Return one character as the percent escapes of its UTF-8 bytes."""
    return "".join(f"%{byte:02X}" for byte in found[0].encode("utf-8", "replace"))


def trace_id_from(traceparent: str | None) -> str:
    """Return the trace id of a W3C ``traceparent`` header, or a new one where there is none to continue."""
    if traceparent:
        found = _TRACEPARENT.fullmatch(traceparent.strip())
        if found and found[1].strip("0") and not (traceparent.startswith("ff")):
            return found[1]
    return secrets.token_hex(16)
