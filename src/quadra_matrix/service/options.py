"""The options as a person sees them: value, source, secrets masked; and as the file ``.env.example``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import get_args
from urllib.parse import parse_qsl, urlencode

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from quadra_matrix.service.settings import Settings, Source, options, variables

MASK = "********"
SECRET_NAMES = ("key", "pass", "secret", "token")
"""A part of the query of an address whose name holds one of these is masked."""

HEADER = """\
# Options of the ready service. Copy this file to .env and change what you need; a line that stays commented keeps
# the default it shows. `quadra config check` prints what is read, and from where.
"""


@dataclass(frozen=True, slots=True)
class Option:
    """One option, ready to be shown."""

    name: str
    variable: str
    value: str | None
    """Text of the value with secrets masked; None where it is unset."""
    source: str
    description: str


def describe(settings: Settings | None, sources: Mapping[str, Source]) -> list[Option]:
    """Return every option with its value and source, in the order in which they are defined.

    Without settings, because some were refused, the values are what the variables hold.
    """
    return [
        Option(
            name=name,
            variable=sources[name].variable or variables(name)[0],
            value=shown(getattr(settings, name)) if settings else _unread(name, field, sources[name]),
            source=sources[name].place,
            description=field.description or "",
        )
        for name, field in options().items()
    ]


def _unread(name: str, field: FieldInfo, source: Source) -> str | None:
    if source.text is None:
        return None if field.default_factory else shown(field.default)
    return MASK if _is_secret(field) else shown(source.text)


def _is_secret(field: FieldInfo) -> bool:
    kinds = (field.annotation, *get_args(field.annotation))
    return SecretStr in (*kinds, *(inner for kind in kinds for inner in get_args(kind)))


def shown(value: object) -> str | None:
    """Return the text of a value without the secrets in it."""
    match value:
        case None | ():
            return None
        case SecretStr() | (SecretStr(), *_):
            return MASK
        case tuple():
            return ",".join(map(str, value))
        case Enum():
            return str(value.value)
        case str() if "://" in value:
            return mask_address(value)
    return str(value)


def mask_address(address: str) -> str:
    """Return ``address`` without its password.

    Everything from the first colon of the user part to the last ``@`` goes, so that a password with an unescaped
    ``@``, ``/`` or ``?`` in it does not show half of itself.
    """
    scheme, _, rest = address.partition("://")
    given, at, place = rest.rpartition("@")
    user, colon, _ = given.partition(":")
    place, mark, query = place.partition("?")
    masked = [
        (name, MASK if any(word in name.lower() for word in SECRET_NAMES) else value)
        for name, value in parse_qsl(query, keep_blank_values=True)
    ]
    return f"{scheme}://{user}{colon and ':' + MASK}{at}{place}{mark}{urlencode(masked, safe='*')}"


def example() -> str:
    """Return the text of ``.env.example``: every option, its description and its default, commented out."""
    return "\n".join([HEADER, *(_example_of(name, field) for name, field in options().items())])


def _example_of(name: str, field: FieldInfo) -> str:
    default = None if field.default_factory else field.default
    return f"# {field.description}\n#{variables(name)[0]}={shown(default) or ''}\n"
