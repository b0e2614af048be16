"""What the server says it has: groups, versions, kinds, and its own version."""

from __future__ import annotations

from quadra_matrix.testing.kubernetes.kinds import Catalogue, Kind
from quadra_matrix.testing.kubernetes.objects import Json

SUBRESOURCE_KINDS = {"scale": ("autoscaling", "v1", "Scale"), "eviction": ("policy", "v1", "Eviction")}
SUBRESOURCE_VERBS = {"eviction": ["create"], "log": ["get"], "proxy": ["create", "delete", "get", "patch", "update"]}


def discovered(path: str, catalogue: Catalogue, version: str) -> Json | None:
    """Return the document at an address of discovery; None when it is no such address."""
    parts = path.strip("/").split("/")
    if parts == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}
    if parts == ["apis"]:
        groups = [_group(group, version) for group, version in catalogue.versions()]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if parts == ["version"]:
        major, _, minor = version.partition(".")
        told = {"major": major, "minor": minor, "gitVersion": f"v{version}.0", "platform": "linux/amd64"}
        return {**told, "gitCommit": "", "gitTreeState": "clean", "buildDate": "", "goVersion": "", "compiler": ""}
    if len(parts) == 2 and parts[0] == "apis":
        return next((_group(*each) for each in catalogue.versions() if each[0] == parts[1]), None)
    if len(parts) == 2 and parts[0] == "api":
        return _resources(catalogue.of_group("", parts[1]))
    if len(parts) == 3 and parts[0] == "apis":
        return _resources(catalogue.of_group(parts[1], parts[2]))
    return None


def _group(group: str, version: str) -> Json:
    preferred = {"groupVersion": f"{group}/{version}", "version": version}
    return {
        "kind": "APIGroup",
        "apiVersion": "v1",
        "name": group,
        "versions": [preferred],
        "preferredVersion": preferred,
    }


def _resources(kinds: tuple[Kind, ...]) -> Json | None:
    if not kinds:
        return None
    found = [entry for kind in kinds for entry in (_resource(kind), *_subresources(kind))]
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": kinds[0].api_version,
        "resources": found,
    }


def _resource(kind: Kind) -> Json:
    return {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.name,
        "verbs": list(kind.verbs),
        "shortNames": list(kind.short),
        "categories": ["all"] if kind.in_all else [],
    }


def _subresources(kind: Kind) -> list[Json]:
    found = []
    for name in kind.subresources:
        group, version, of = SUBRESOURCE_KINDS.get(name, ("", "", kind.name))
        entry: Json = {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": of,
            "verbs": SUBRESOURCE_VERBS.get(name, ["get", "patch", "update"]),
        }
        if group:
            entry |= {"group": group, "version": version}
        found.append(entry)
    return found
