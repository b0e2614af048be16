"""Who asks: the name in the token, or the one that an administrator borrows."""

from __future__ import annotations

from dataclasses import dataclass

from quadra_matrix.testing.kubernetes.problems import Refused
from quadra_matrix.testing.kubernetes.requests import Request

MASTERS = "system:masters"
SERVICE_ACCOUNT = "system:serviceaccount:"


@dataclass(frozen=True, slots=True)
class User:
    """Somebody with a name and groups."""

    name: str
    groups: tuple[str, ...] = ()

    @classmethod
    def named(cls, name: str) -> User:
        """Return the user of this name, in the groups that the name brings."""
        if not name.startswith(SERVICE_ACCOUNT):
            return cls(name, ("system:authenticated",))
        namespace = name.removeprefix(SERVICE_ACCOUNT).partition(":")[0]
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        return cls(name, groups)

    @property
    def may_do_everything(self) -> bool:
        """Tell whether no rule is needed."""
        return MASTERS in self.groups


ADMINISTRATOR = User("kubernetes-admin", (MASTERS, "system:authenticated"))
"""Who asks without a token."""


def user_of(request: Request) -> User:
    """Return who asks: a bearer token is a user's name here. Raises a 403 for one who may not borrow a name."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    real = User.named(token) if scheme == "Bearer" and token else ADMINISTRATOR
    borrowed = request.headers.get("impersonate-user")
    if borrowed in {None, real.name}:
        return real
    if not real.may_do_everything:
        raise Refused(403, "Forbidden", f'users "{borrowed}" is forbidden: User "{real.name}" cannot impersonate')
    return User.named(borrowed or "")
