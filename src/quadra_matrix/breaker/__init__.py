"""Circuit breakers: stop calling a dependency that fails, and try again later."""
