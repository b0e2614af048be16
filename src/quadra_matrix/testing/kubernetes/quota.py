"""Resource quotas: how many objects a namespace may hold."""

from __future__ import annotations

from quadra_matrix.testing.kubernetes.kinds import QUOTA, Kind
from quadra_matrix.testing.kubernetes.objects import dig, name_of
from quadra_matrix.testing.kubernetes.problems import Refused
from quadra_matrix.testing.kubernetes.storage import Storage


def check_quota(storage: Storage, kind: Kind, namespace: str) -> None:
    """Raise a 403 when one more object of this kind would pass a quota of its namespace."""
    counted = f"count/{kind.plural}.{kind.group}" if kind.group else f"count/{kind.plural}"
    for quota in storage.list(QUOTA, namespace):
        for resource in (kind.plural, counted):
            hard = dig(quota, "spec", "hard", resource)
            used = len(storage.list(kind, namespace))
            if hard is not None and used >= int(hard):
                raise Refused(
                    403,
                    "Forbidden",
                    f"{kind.plural} is forbidden: exceeded quota: {name_of(quota)}, requested: {resource}=1, "
                    f"used: {resource}={used}, limited: {resource}={hard}",
                    details={"kind": kind.plural, "group": kind.group},
                )
