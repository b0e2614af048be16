"""The promised import name of ``quadra_matrix.breaker``."""

from quadra_matrix.breaker import CircuitBreaker, circuit_breaker, get_all_circuit_breaker_metrics
from quadra_matrix.breaker.machine import State as CircuitState
from quadra_matrix.errors import CircuitBreakerError

__all__ = [
    "CircuitBreaker",
    "CircuitBreakerError",
    "CircuitState",
    "circuit_breaker",
    "get_all_circuit_breaker_metrics",
]
