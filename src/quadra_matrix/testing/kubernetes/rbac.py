"""Role-based access: what the roles that are bound to a user allow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.kinds import CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING, Kind
from quadra_matrix.testing.kubernetes.objects import Json, dig, namespace_of
from quadra_matrix.testing.kubernetes.problems import forbidden
from quadra_matrix.testing.kubernetes.requests import Request, Target
from quadra_matrix.testing.kubernetes.storage import Key, Storage
from quadra_matrix.testing.kubernetes.users import SERVICE_ACCOUNT, User

NAME_FIELD = "metadata.name="


@dataclass(frozen=True, slots=True)
class Deed:
    """What somebody wants to do."""

    verb: str
    group: str
    resource: str
    """With its subresource: ``pods/log``."""
    namespace: str = ""
    name: str = ""

    @classmethod
    def of(cls, request: Request, target: Target) -> Deed:
        """Return what a request does. A list or watch of one name counts as one of that name."""
        name, chosen = target.name, request.query.get("fieldSelector", "")
        if not name and chosen.startswith(NAME_FIELD) and "," not in chosen:
            name = chosen.removeprefix(NAME_FIELD)
        return cls(target.verb, target.kind.group, target.resource, target.namespace, name)

    @classmethod
    def asked_about(cls, review: Json) -> Deed:
        """Return what a SelfSubjectAccessReview is about."""
        about = dig(review, "spec", "resourceAttributes", default={})
        resource = "/".join(filter(None, (about.get("resource", ""), about.get("subresource", ""))))
        return cls(
            about.get("verb", ""), about.get("group", ""), resource, about.get("namespace", ""), about.get("name", "")
        )


def check(storage: Storage, user: User, deed: Deed) -> None:
    """Raise a 403 unless the user may do this."""
    if not allowed(storage, user, deed):
        raise forbidden(user.name, deed.verb, deed.resource, deed.group, deed.namespace, deed.name)


def allowed(storage: Storage, user: User, deed: Deed) -> bool:
    """Tell whether the user may do this."""
    return user.may_do_everything or any(_covers(rule, deed) for rule in _rules(storage, user, deed.namespace))


def _rules(storage: Storage, user: User, namespace: str) -> Iterator[Json]:
    """Yield the rules that hold for a user in a namespace."""
    bindings = list(storage.list(CLUSTER_ROLE_BINDING))
    if namespace:
        bindings += storage.list(ROLE_BINDING, namespace)
    for binding in bindings:
        if any(_is(subject, user, namespace_of(binding)) for subject in dig(binding, "subjects", default=[])):
            kind: Kind = ROLE if binding["roleRef"]["kind"] == "Role" else CLUSTER_ROLE
            where = namespace_of(binding) if kind is ROLE else ""
            role = storage.find(Key(kind, where, binding["roleRef"]["name"])) or {}
            yield from dig(role, "rules", default=[])


def _is(subject: Json, user: User, namespace: str) -> bool:
    """Tell whether a binding means this user."""
    if subject["kind"] == "ServiceAccount":
        return user.name == f"{SERVICE_ACCOUNT}{subject.get('namespace', namespace)}:{subject['name']}"
    return subject["name"] in (user.groups if subject["kind"] == "Group" else (user.name,))


def _covers(rule: Json, deed: Deed) -> bool:
    """Tell whether one rule allows this."""
    _, _, subresource = deed.resource.partition("/")
    resources = {"*", deed.resource, *([f"*/{subresource}"] if subresource else [])}
    names = rule.get("resourceNames")
    return (
        not {"*", deed.verb}.isdisjoint(rule.get("verbs") or ())
        and not {"*", deed.group}.isdisjoint(rule.get("apiGroups") or ())
        and not resources.isdisjoint(rule.get("resources") or ())
        and (not names or deed.name in names)
    )
