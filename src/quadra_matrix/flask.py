"""The shop window: every feature a Flask application can get with one call.

Each name is the feature's own; this module adds nothing. It needs Flask and pydantic only: a call that needs an extra
says which.
"""

from quadra_matrix.access.flask import (
    access_of,
    requires,
    setup_access,
    setup_cors,
    setup_rate_limits,
    setup_sign_in,
)
from quadra_matrix.api.flask import documented, setup_api_documentation, setup_problem_errors, validated
from quadra_matrix.breaker import CircuitBreaker, circuit_breaker
from quadra_matrix.breaker.flask import setup_circuit_breakers
from quadra_matrix.experiments.flask import ab_test, setup_experiments
from quadra_matrix.telemetry.flask import setup_distributed_tracing
from quadra_matrix.tls.flask import csp_nonce, setup_tls

__all__ = [
    "CircuitBreaker",
    "ab_test",
    "access_of",
    "circuit_breaker",
    "csp_nonce",
    "documented",
    "requires",
    "setup_access",
    "setup_api_documentation",
    "setup_circuit_breakers",
    "setup_cors",
    "setup_distributed_tracing",
    "setup_experiments",
    "setup_problem_errors",
    "setup_rate_limits",
    "setup_sign_in",
    "setup_tls",
    "validated",
]
