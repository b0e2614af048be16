"""The kinds of objects that the server knows, and how their addresses are made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")

FIELDS = frozenset({"metadata.name", "metadata.namespace"})


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of objects."""

    group: str
    version: str
    plural: str
    name: str
    namespaced: bool = True
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = ()
    fields: frozenset[str] = FIELDS
    """Paths that a field selector may name."""
    in_all: bool = False
    """Whether ``kubectl get all`` shows it."""
    only_created: bool = False
    """Whether it is a question that is answered at once, and never stored."""

    @property
    def api_version(self) -> str:
        """Return what objects of this kind have as ``apiVersion``."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def is_custom(self) -> bool:
        """Tell whether it is a custom resource: such a kind has no strategic merge patch."""
        return self.group == GATEWAY or ("." in self.group and not self.group.endswith(".k8s.io"))

    @property
    def singular(self) -> str:
        """Return the name in lower case."""
        return self.name.lower()

    @property
    def verbs(self) -> tuple[str, ...]:
        """Return what may be done with it."""
        return ("create",) if self.only_created else VERBS

    def has(self, subresource: str) -> bool:
        """Tell whether objects of this kind have a subresource."""
        return subresource in self.subresources


POD_FIELDS = FIELDS | {"spec.nodeName", "spec.restartPolicy", "spec.serviceAccountName", "status.phase", "status.podIP"}
EVENT_FIELDS = FIELDS | {f"involvedObject.{part}" for part in ("kind", "name", "namespace", "uid")} | {"reason", "type"}
GATEWAY = "gateway.networking.k8s.io"
RBAC = "rbac.authorization.k8s.io"
SCALABLE = ("status", "scale")
STATUS = ("status",)

NAMESPACE = Kind("", "v1", "namespaces", "Namespace", False, ("ns",), STATUS, FIELDS | {"status.phase"})
POD = Kind(
    "", "v1", "pods", "Pod", True, ("po",), ("status", "log", "eviction", "proxy"), frozenset(POD_FIELDS), in_all=True
)
SERVICE = Kind("", "v1", "services", "Service", True, ("svc",), ("status", "proxy"), in_all=True)
ENDPOINTS = Kind("", "v1", "endpoints", "Endpoints", True, ("ep",))
CONFIG_MAP = Kind("", "v1", "configmaps", "ConfigMap", True, ("cm",))
EVENT = Kind("", "v1", "events", "Event", True, ("ev",), fields=frozenset(EVENT_FIELDS))
QUOTA = Kind("", "v1", "resourcequotas", "ResourceQuota", True, ("quota",), STATUS)
SECRET = Kind("", "v1", "secrets", "Secret", fields=FIELDS | {"type"})
DEPLOYMENT = Kind("apps", "v1", "deployments", "Deployment", True, ("deploy",), SCALABLE, in_all=True)
REPLICA_SET = Kind("apps", "v1", "replicasets", "ReplicaSet", True, ("rs",), SCALABLE, in_all=True)
JOB = Kind("batch", "v1", "jobs", "Job", True, (), STATUS, FIELDS | {"status.successful"}, in_all=True)
AUTOSCALER = Kind(
    "autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", True, ("hpa",), STATUS, in_all=True
)
DISRUPTION_BUDGET = Kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget", True, ("pdb",), STATUS)
ROLE = Kind(RBAC, "v1", "roles", "Role")
ROLE_BINDING = Kind(RBAC, "v1", "rolebindings", "RoleBinding")
CLUSTER_ROLE = Kind(RBAC, "v1", "clusterroles", "ClusterRole", False)
CLUSTER_ROLE_BINDING = Kind(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", False)
GATEWAY_KIND = Kind(GATEWAY, "v1", "gateways", "Gateway", True, ("gtw",), STATUS)
HTTP_ROUTE = Kind(GATEWAY, "v1", "httproutes", "HTTPRoute", True, (), STATUS)
ACCESS_REVIEW = Kind(
    "authorization.k8s.io", "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", False, only_created=True
)

KINDS = (
    NAMESPACE,
    POD,
    SERVICE,
    ENDPOINTS,
    CONFIG_MAP,
    EVENT,
    QUOTA,
    SECRET,
    Kind("", "v1", "serviceaccounts", "ServiceAccount", True, ("sa",)),
    Kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim", True, ("pvc",), STATUS),
    Kind("", "v1", "nodes", "Node", False, ("no",), STATUS),
    DEPLOYMENT,
    REPLICA_SET,
    JOB,
    AUTOSCALER,
    DISRUPTION_BUDGET,
    Kind("coordination.k8s.io", "v1", "leases", "Lease"),
    Kind("networking.k8s.io", "v1", "ingresses", "Ingress", True, ("ing",), STATUS),
    Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", True, ("netpol",)),
    ROLE,
    ROLE_BINDING,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ACCESS_REVIEW,
    Kind(GATEWAY, "v1", "gatewayclasses", "GatewayClass", False, ("gc",), STATUS),
    GATEWAY_KIND,
    HTTP_ROUTE,
    Kind("monitoring.coreos.com", "v1", "servicemonitors", "ServiceMonitor", True, ("smon",)),
)
"""Everything the server knows unless it is told otherwise."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The kinds of one server."""

    kinds: tuple[Kind, ...] = KINDS
    _by_plural: dict[tuple[str, str, str], Kind] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        by_plural = {(kind.group, kind.version, kind.plural): kind for kind in self.kinds}
        object.__setattr__(self, "_by_plural", by_plural)

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """Return the kind with this address."""
        return self._by_plural.get((group, version, plural))

    def named(self, api_version: str, name: str) -> Kind | None:
        """Return the kind of objects that say this of themselves."""
        return next((kind for kind in self.kinds if kind.api_version == api_version and kind.name == name), None)

    def of_group(self, group: str, version: str) -> tuple[Kind, ...]:
        """Return the kinds of one group and version."""
        return tuple(kind for kind in self.kinds if (kind.group, kind.version) == (group, version))

    def versions(self) -> tuple[tuple[str, str], ...]:
        """Return every group and version, in order, without the core group."""
        return tuple(dict.fromkeys((kind.group, kind.version) for kind in self.kinds if kind.group))

    def without(self, groups: Iterable[str]) -> Catalogue:
        """Return the catalogue of a server on which these groups are not installed."""
        gone = frozenset(groups)
        return Catalogue(tuple(kind for kind in self.kinds if kind.group not in gone))
