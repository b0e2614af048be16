"""The refusals of an API server: each a Status object with its code, its reason and its causes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.objects import Json


@dataclass(frozen=True, slots=True)
class Cause:
    """One field that was refused."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class Refused(Exception):
    """The server refuses a request."""

    def __init__(self, code: int, reason: str, message: str, *, details: Json | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details or {}

    def status(self) -> Json:
        """Return the body of the answer."""
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "details": self.details,
            "code": self.code,
        }


def bad_request(message: str) -> Refused:
    """Return the refusal of a request that cannot be read."""
    return Refused(400, "BadRequest", message)


def forbidden(user: str, verb: str, resource: str, group: str, namespace: str, name: str) -> Refused:
    """Return the refusal of a user who has no permission."""
    where = f'in the namespace "{namespace}"' if namespace else "at the cluster scope"
    what = f"{resource}.{group}" if group else resource
    quoted = f' "{name}"' if name else ""
    message = (
        f'{what}{quoted} is forbidden: User "{user}" cannot {verb} resource "{resource}" in API group "{group}" {where}'
    )
    return Refused(403, "Forbidden", message, details={"name": name, "group": group, "kind": resource})


def no_such_path() -> Refused:
    """Return the refusal of an address that is no resource here."""
    return Refused(404, "NotFound", "the server could not find the requested resource")


def not_found(resource: str, group: str, name: str) -> Refused:
    """Return the refusal of an object that does not exist."""
    what = f"{resource}.{group}" if group else resource
    details = {"name": name, "group": group, "kind": resource}
    return Refused(404, "NotFound", f'{what} "{name}" not found', details=details)


def already_exists(resource: str, group: str, name: str) -> Refused:
    """Return the refusal to create what exists."""
    what = f"{resource}.{group}" if group else resource
    details = {"name": name, "group": group, "kind": resource}
    return Refused(409, "AlreadyExists", f'{what} "{name}" already exists', details=details)


def conflict(resource: str, group: str, name: str, why: str = "") -> Refused:
    """Return the refusal of a change to another version than the newest."""
    what = f"{resource}.{group}" if group else resource
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    message = f'Operation cannot be fulfilled on {what} "{name}": {why}'
    return Refused(409, "Conflict", message, details={"name": name, "group": group, "kind": resource})


def expired(since: int, oldest: int) -> Refused:
    """Return the refusal to tell what happened so long ago."""
    return Refused(410, "Expired", f"too old resource version: {since} ({oldest})")


def invalid(kind: str, group: str, name: str, causes: Sequence[Cause]) -> Refused:
    """Return the refusal of an object whose fields break a rule."""
    what = f"{kind}.{group}" if group else kind
    told = str(causes[0]) if len(causes) == 1 else "[" + ", ".join(map(str, causes)) + "]"
    details = {
        "name": name,
        "group": group,
        "kind": kind,
        "causes": [{"field": cause.field, "message": cause.message, "reason": cause.reason} for cause in causes],
    }
    return Refused(422, "Invalid", f'{what} "{name}" is invalid: {told}', details=details)


def unprocessable(message: str) -> Refused:
    """Return the refusal of a patch that does not fit the object."""
    return Refused(422, "Invalid", f"the server rejected our request due to an error in our request: {message}")


def unsupported_media(given: str, accepted: Sequence[str]) -> Refused:
    """Return the refusal of a body of an unknown type."""
    named = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {named}; got {given!r}"
    return Refused(415, "UnsupportedMediaType", message)


def not_allowed() -> Refused:
    """Return the refusal of a verb that a resource does not have."""
    return Refused(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")


def too_many(message: str, cause: Json, retry_after: int) -> Refused:
    """Return the refusal of what may be done later."""
    return Refused(429, "TooManyRequests", message, details={"causes": [cause], "retryAfterSeconds": retry_after})
