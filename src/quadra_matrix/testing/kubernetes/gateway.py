"""Schemas of the Gateway API kinds, which are custom resources and so in no published schema of Kubernetes itself.

They hold what sends traffic: hosts, matches, filters and weighted back ends of an HTTPRoute.
"""

from __future__ import annotations

from typing import Any

from quadra_matrix.testing.kubernetes.objects import Json

GROUP = "gateway.networking.k8s.io"
PREFIX = "io.k8s.networking.gateway.v1."
META = {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
TEXT: Json = {"type": "string"}
NUMBER: Json = {"type": "integer", "format": "int32"}
PORT: Json = {**NUMBER, "minimum": 1, "maximum": 65535}
OPEN: Json = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def _object(required: tuple[str, ...] = (), **properties: Json) -> Json:
    return {"type": "object", "properties": properties, "required": list(required)}


def _list(items: Json, *keys: str) -> Json:
    if not keys:
        return {"type": "array", "items": items, "x-kubernetes-list-type": "atomic"}
    return {"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def _one_of(*values: str) -> Json:
    return {"type": "string", "enum": list(values)}


def _kind(name: str, spec: Json, status: Json) -> Json:
    return {
        **_object(("spec",), apiVersion=TEXT, kind=TEXT, metadata=META, spec=spec, status=status),
        "x-kubernetes-group-version-kind": [{"group": GROUP, "version": "v1", "kind": name}],
    }


CONDITIONS = _list(
    {"$ref": "#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.Condition"},
    "type",
)
REFERENCE: dict[str, Any] = {"group": TEXT, "kind": TEXT, "name": TEXT, "namespace": TEXT, "port": PORT}
PARENT = _object(("name",), **REFERENCE, sectionName=TEXT)
WEIGHT: Json = {**NUMBER, "minimum": 0, "maximum": 1_000_000, "default": 1}
FILTER = _object(
    ("type",),
    type=_one_of(
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "CORS",
        "ExtensionRef",
    ),
    requestHeaderModifier=OPEN,
    responseHeaderModifier=OPEN,
    requestMirror=OPEN,
    requestRedirect=OPEN,
    urlRewrite=OPEN,
    cors=OPEN,
    extensionRef=OPEN,
)
BACKEND = _object(("name",), **REFERENCE, weight=WEIGHT, filters=_list(FILTER))
HEADER = _object(("name", "value"), type=_one_of("Exact", "RegularExpression"), name=TEXT, value=TEXT)
MATCH = _object(
    path=_object(type=_one_of("Exact", "PathPrefix", "RegularExpression"), value=TEXT),
    headers=_list(HEADER, "name"),
    queryParams=_list(HEADER, "name"),
    method=_one_of("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
)
RULE = _object(
    name=TEXT,
    matches=_list(MATCH),
    filters=_list(FILTER),
    backendRefs=_list(BACKEND),
    timeouts=_object(request=TEXT, backendRequest=TEXT),
    retry=OPEN,
    sessionPersistence=OPEN,
)
LISTENER = _object(
    ("name", "port", "protocol"),
    name=TEXT,
    hostname=TEXT,
    port=PORT,
    protocol=TEXT,
    tls=OPEN,
    allowedRoutes=OPEN,
)
ROUTE_STATUS = _object(
    parents=_list(
        _object(("parentRef", "controllerName"), parentRef=PARENT, controllerName=TEXT, conditions=CONDITIONS)
    )
)

DEFINITIONS: dict[str, Json] = {
    f"{PREFIX}HTTPRoute": _kind(
        "HTTPRoute", _object(parentRefs=_list(PARENT), hostnames=_list(TEXT), rules=_list(RULE)), ROUTE_STATUS
    ),
    f"{PREFIX}Gateway": _kind(
        "Gateway",
        _object(
            ("gatewayClassName", "listeners"),
            gatewayClassName=TEXT,
            listeners=_list(LISTENER, "name"),
            addresses=_list(_object(type=TEXT, value=TEXT)),
            infrastructure=OPEN,
        ),
        OPEN,
    ),
    f"{PREFIX}GatewayClass": _kind(
        "GatewayClass",
        _object(("controllerName",), controllerName=TEXT, description=TEXT, parametersRef=OPEN),
        OPEN,
    ),
}
"""Names of definitions -> definitions, to stand beside the published ones."""
