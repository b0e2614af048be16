"""Access on Flask: who may call, sign-in, origins and limits, one ``setup_*`` call each."""

from quadra_matrix.access.flask.cors import setup_cors
from quadra_matrix.access.flask.guard import Access, access_of, requires, setup_access
from quadra_matrix.access.flask.limits import RateLimits, limits_of, setup_rate_limits
from quadra_matrix.access.flask.session import SignIn, setup_sign_in

__all__ = [
    "Access",
    "RateLimits",
    "SignIn",
    "access_of",
    "limits_of",
    "requires",
    "setup_access",
    "setup_cors",
    "setup_rate_limits",
    "setup_sign_in",
]
