"""A request as the server reads it: who asks for what, of which object, in which way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote, urlsplit

from quadra_matrix.testing.kubernetes.kinds import Catalogue, Kind
from quadra_matrix.testing.kubernetes.problems import bad_request, no_such_path, not_allowed
from quadra_matrix.testing.kubernetes.storage import Key


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""
    query_text: str = ""

    @classmethod
    def read(cls, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Request:
        """Return the request for an address."""
        parts = urlsplit(target)
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        lowered = {name.lower(): value for name, value in headers.items()}
        return cls(method, parts.path, query, lowered, body, parts.query)

    def asks(self, name: str) -> bool:
        """Tell whether a parameter of the query is set to true."""
        return self.query.get(name, "").lower() in {"true", "1"}

    @property
    def is_dry(self) -> bool:
        """Tell whether nothing may be written. Raises a 400 for a way of running dry that there is not."""
        given = self.query.get("dryRun", "")
        if given not in {"", "All"}:
            raise bad_request(f'Invalid value: "{given}": dryRun: supported values: "All"')
        return given == "All"

    @property
    def media_type(self) -> str:
        """Return the type of the body, without parameters."""
        return self.headers.get("content-type", "application/json").partition(";")[0].strip()


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about."""

    kind: Kind
    verb: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    """What follows the subresource: the path within a pod."""

    @property
    def resource(self) -> str:
        """Return the resource with its subresource, as rules name it: ``pods/log``."""
        return f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural

    @property
    def key(self) -> Key:
        """Return the place of the object."""
        return Key(self.kind, self.namespace, self.name)


def target_of(request: Request, catalogue: Catalogue) -> Target:
    """Return what a request is about. Raises a 404 for an address that is no resource, a 405 for a wrong method."""
    parts = [unquote(part) for part in request.path.strip("/").split("/")]
    group, version, rest = ("", parts[1], parts[2:]) if parts[0] == "api" else (parts[1], parts[2], parts[3:])
    namespace = ""
    if len(rest) >= 3 and rest[0] == "namespaces" and catalogue.find(group, version, rest[2]) is not None:
        namespace, rest = rest[1], rest[2:]
    kind = catalogue.find(group, version, rest[0]) if rest else None
    if kind is None or (namespace and not kind.namespaced):
        raise no_such_path()
    name, subresource = rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""
    if subresource and not kind.has(subresource):
        raise no_such_path()
    if kind.namespaced and not namespace and (name or request.method == "POST"):
        raise no_such_path() if name else not_allowed()
    verb = _verb(request, name=bool(name), subresource=subresource)
    return Target(kind, verb, namespace, name, subresource, "/".join(rest[3:]))


def _verb(request: Request, *, name: bool, subresource: str) -> str:
    """Return what the method means at this address."""
    if request.method in {"GET", "HEAD"}:
        if request.asks("watch"):
            return "watch"
        return "get" if name else "list"
    if subresource in {"proxy", "eviction"}:
        return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}[request.method]
    if name:
        found = {"PUT": "update", "PATCH": "patch", "DELETE": "delete"}.get(request.method)
    else:
        found = {"POST": "create", "DELETE": "deletecollection"}.get(request.method)
    if found is None:
        raise not_allowed()
    return found
