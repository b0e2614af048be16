"""Functions, coroutines and generators of both kinds as spans."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, ParamSpec, TypeVar

from opentelemetry import trace
from opentelemetry.context import attach, detach
from opentelemetry.trace import Span

from quadra_matrix.telemetry.otel.tracing import Tracing, finish

P = ParamSpec("P")
R = TypeVar("R")


def traced(tracing: Tracing, function: Callable[P, R], name: str | None) -> Callable[P, R]:
    """Return ``function`` with each call as the span ``name``; the function's own name is the default."""
    called = str(name or getattr(function, "__qualname__", type(function).__qualname__))
    wrapper: Any
    if inspect.isasyncgenfunction(function):

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return TracedAsyncGenerator(tracing, called, function(*args, **kwargs))

    elif inspect.isgeneratorfunction(function):

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return TracedGenerator(tracing, called, function(*args, **kwargs))

    elif inspect.iscoroutinefunction(function):

        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            with tracing.create_span(called):
                return await function(*args, **kwargs)

    else:

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with tracing.create_span(called):
                return function(*args, **kwargs)

    wrapped: Callable[P, R] = functools.wraps(function)(wrapper)
    return wrapped


class _Steps:
    """The span of work that goes on step by step and leaves its thread to others in between."""

    def __init__(self, tracing: Tracing, name: str) -> None:
        self._tracing, self._name = tracing, name
        self._span: Span | None = None
        self._is_over = False

    @property
    def has_begun(self) -> bool:
        """Tell whether a step ran."""
        return self._span is not None

    def __enter__(self) -> None:
        if self._span is None:
            self._span = self._tracing.start(self._name)
        self._token = attach(trace.set_span_in_context(self._span))

    def __exit__(self, kind: object, error: BaseException | None, tb: object) -> None:
        detach(self._token)
        if error is not None:
            self.end(None if isinstance(error, StopIteration | StopAsyncIteration) else error)

    def end(self, error: BaseException | None = None) -> None:
        """End the span, once; a span that never began is not made."""
        if self._span is not None and not self._is_over:
            self._is_over = True
            finish(self._span, error)


class TracedGenerator(Generator[Any, Any, Any]):
    """A generator whose steps run within one span."""

    def __init__(self, tracing: Tracing, name: str, inner: Generator[Any, Any, Any]) -> None:
        self._steps, self._inner = _Steps(tracing, name), inner

    def send(self, value: Any) -> Any:
        """Run to the next yield."""
        with self._steps:
            return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        """Raise at the yield, and run to the next."""
        with self._steps:
            return self._inner.throw(*error)

    def close(self) -> None:
        """Close the generator and end its span; one that never ran makes none."""
        if not self._steps.has_begun:
            return self._inner.close()
        with self._steps:
            self._inner.close()
        return self._steps.end()

    def __del__(self) -> None:
        self._steps.end()


class TracedAsyncGenerator(AsyncGenerator[Any, Any]):
    """An asynchronous generator whose steps run within one span."""

    def __init__(self, tracing: Tracing, name: str, inner: AsyncGenerator[Any, Any]) -> None:
        self._steps, self._inner = _Steps(tracing, name), inner

    def asend(self, value: Any) -> Any:
        """Run to the next yield."""
        return self._step(self._inner.asend(value))

    def athrow(self, *error: Any) -> Any:
        """Raise at the yield, and run to the next."""
        return self._step(self._inner.athrow(*error))

    async def aclose(self) -> None:
        """Close the generator and end its span; one that never ran makes none."""
        if not self._steps.has_begun:
            return await self._inner.aclose()
        await self._step(self._inner.aclose())
        return self._steps.end()

    async def _step(self, step: Awaitable[Any]) -> Any:
        with self._steps:
            return await step

    def __del__(self) -> None:
        self._steps.end()
