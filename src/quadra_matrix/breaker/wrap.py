"""Turn a function into a guarded one of the same nature, name, signature and type.

A plain or coroutine function gets a wrapper generated with the function's own parameters: passing them on by name costs
a third of ``*args, **kwargs``. The wrapper takes no lock while the circuit is closed and calm: it compares the era it
was admitted in with ``calm`` and counts.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass
from inspect import Parameter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from quadra_matrix.breaker.window import NEVER
from quadra_matrix.errors import CircuitBreakerError, require

if TYPE_CHECKING:
    from quadra_matrix.breaker.guard import CircuitBreaker

P = ParamSpec("P")
R = TypeVar("R")

OURS = "qm_"
"""Names in the generated code begin with this; a function with such a parameter gets ``*args, **kwargs``."""

PASSED = {
    Parameter.POSITIONAL_ONLY: "{0}",
    Parameter.POSITIONAL_OR_KEYWORD: "{0}",
    Parameter.VAR_POSITIONAL: "*{0}",
    Parameter.KEYWORD_ONLY: "{0}={0}",
    Parameter.VAR_KEYWORD: "**{0}",
}
"""How a wrapper passes a parameter on."""


SPECIAL = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ITERABLE_COROUTINE | inspect.CO_ASYNC_GENERATOR
"""Flags of code whose call only creates something to be run later."""


class Nature(enum.Enum):
    """What calling a function returns."""

    PLAIN = enum.auto()
    COROUTINE = enum.auto()
    GENERATOR = enum.auto()
    ASYNC_GENERATOR = enum.auto()


def nature_of(func: object) -> Nature:
    """Return the nature of a callable; partials, methods and objects with ``__call__`` are looked through."""
    code = getattr(func, "__code__", None)
    if code is not None and not code.co_flags & SPECIAL and not func.__dict__:
        return Nature.PLAIN  # nearly every call; what `inspect` does below takes a microsecond
    while isinstance(func, functools.partial):
        func = func.func
    if not inspect.isroutine(func) and not isinstance(func, type):
        func = getattr(func, "__call__", func)  # noqa: B004  the method itself is wanted, not whether there is one
    if inspect.iscoroutinefunction(func):
        return Nature.COROUTINE
    if inspect.isasyncgenfunction(func):
        return Nature.ASYNC_GENERATOR
    return Nature.GENERATOR if inspect.isgeneratorfunction(func) else Nature.PLAIN


def guarded(
    breaker: CircuitBreaker, func: Callable[P, R], fallback: Callable[..., Any] | None, *, specialise: bool = True
) -> Callable[P, R]:
    """Return ``func`` guarded by ``breaker``; ``specialise=False`` saves making code for a single call."""
    require(_is_guardable(func), "func", func, "a function (put the breaker under @staticmethod or @classmethod)")
    nature = nature_of(func)
    made: Callable[P, R]
    if nature is Nature.GENERATOR:
        made = _guarded_generator(breaker, func, fallback)
    elif nature is Nature.ASYNC_GENERATOR:
        made = _guarded_async_generator(breaker, func, fallback)
    else:
        shape = _shape_of(func) if specialise else ANYTHING
        made = _generated(breaker, func, fallback, is_async=nature is Nature.COROUTINE, shape=shape)
    functools.update_wrapper(made, func)
    return made


def _is_guardable(func: object) -> bool:
    """Tell whether ``func`` can be called and is no class or descriptor."""
    return callable(func) and not isinstance(func, type | staticmethod | classmethod)


def serve(fallback: Callable[..., Any], refused: CircuitBreakerError) -> Any:
    """Return the answer of ``fallback``, which takes the refusal or nothing."""
    return fallback(refused) if _takes_the_error(fallback) else fallback()


async def serve_async(fallback: Callable[..., Any], refused: CircuitBreakerError) -> Any:
    """Return the answer of ``fallback``, awaited if it is awaitable."""
    answer = serve(fallback, refused)
    return await answer if inspect.isawaitable(answer) else answer


def _takes_the_error(fallback: Callable[..., Any]) -> bool:
    """Tell whether ``fallback`` needs an argument; one with a default is the fallback's own business."""
    try:
        inspect.signature(fallback).bind()
    except TypeError:
        return True
    except ValueError:  # a builtin such as dict has no signature
        return False
    return False


def _guarded_generator(
    breaker: CircuitBreaker, func: Callable[..., Any], fallback: Callable[..., Any] | None
) -> Callable[..., Any]:
    """Guard a generator function: it asks at the first step, and its outcome is known when it ends."""

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        try:
            ticket, _ = breaker.begin()
        except CircuitBreakerError as refused:
            if fallback is None:
                raise
            return (yield from serve(fallback, refused))
        try:
            result = yield from func(*args, **kwargs)  # forwards send, throw and close
        except BaseException as error:
            breaker.bad(ticket, error)
            raise
        breaker.good(ticket)
        return result

    return guarded


def _guarded_async_generator(
    breaker: CircuitBreaker, func: Callable[..., Any], fallback: Callable[..., Any] | None
) -> Callable[..., Any]:
    """Guard an async generator function; what ``yield from`` does for a plain one is written out."""

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        try:
            ticket, _ = breaker.begin()
        except CircuitBreakerError as refused:
            if fallback is None:
                raise
            async for item in serve(fallback, refused):
                yield item
            return
        inner = func(*args, **kwargs)
        try:
            item = await anext(inner)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as thrown:  # noqa: BLE001  athrow: it belongs to the inner generator
                    item = await inner.athrow(thrown)
                else:
                    item = await inner.asend(sent)
        except StopAsyncIteration:
            breaker.good(ticket)
        except BaseException as error:
            breaker.bad(ticket, error)
            raise

    return guarded


@dataclass(frozen=True, slots=True)
class Shape:
    """The parameters of a function as source: as declared, in parentheses, and as passed on."""

    declared: str
    passed: str


ANYTHING = Shape("(*args, **kwargs)", "*args, **kwargs")


def _shape_of(func: Callable[..., Any]) -> Shape:
    """Return the parameters of ``func``, or ANYTHING where they cannot be written again."""
    if not inspect.isfunction(func) or hasattr(func, "__signature__"):
        return ANYTHING
    signature = inspect.signature(func, follow_wrapped=False)
    parameters = list(signature.parameters.values())
    if any(parameter.name.startswith(OURS) or not parameter.name.isidentifier() for parameter in parameters):
        return ANYTHING
    # The real defaults are set on the finished function: a repr would not always give the object back.
    plain = [
        parameter.replace(
            annotation=Parameter.empty, default=parameter.empty if parameter.default is parameter.empty else None
        )
        for parameter in parameters
    ]
    declared = signature.replace(parameters=plain, return_annotation=Parameter.empty)
    return Shape(str(declared), ", ".join(PASSED[parameter.kind].format(parameter.name) for parameter in parameters))


def _generated(
    breaker: CircuitBreaker,
    func: Callable[..., Any],
    fallback: Callable[..., Any] | None,
    *,
    is_async: bool,
    shape: Shape,
) -> Callable[..., Any]:
    """Return the wrapper of a plain or a coroutine function, made from source that holds only what its options need."""
    options, machine = breaker.options, breaker.machine
    source = _source(
        shape,
        is_async=is_async,
        has_fallback=fallback is not None,
        looks=options.shared is not None,
        judges=options.is_failed_result is not None,
        times=options.slow_after < NEVER,
        turns=options.has_time_window,
    )
    names: dict[str, Any] = {
        "qm_machine": machine, "qm_call": func, "qm_admit": breaker.admit, "qm_good": breaker.good,
        "qm_bad": breaker.bad, "qm_finish": breaker.finish, "qm_tick": breaker.tick,
        "qm_now": options.clock.monotonic, "qm_slow": options.slow_after, "qm_Refusal": CircuitBreakerError,
    }  # fmt: skip
    if fallback is not None:
        names["qm_serve"] = functools.partial(serve_async if is_async else serve, fallback)
    exec(_compiled(source), names)  # noqa: S102  the source is made below; of the function it holds identifiers only
    made: FunctionType = names["guarded"]
    if isinstance(func, FunctionType) and shape is not ANYTHING:
        made.__defaults__, made.__kwdefaults__ = func.__defaults__, func.__kwdefaults__
    return made


@functools.lru_cache(maxsize=256)
def _compiled(source: str) -> CodeType:
    """Compile a wrapper; functions of one shape share the code."""
    return compile(source, "<circuit breaker>", "exec")


def _source(
    shape: Shape, *, is_async: bool, has_fallback: bool, looks: bool, judges: bool, times: bool, turns: bool
) -> str:
    """Return the source of a wrapper.

    ``looks``: shared state is looked at once per interval. ``judges``: results are classified. ``times``: a rule asks
    for durations. ``turns``: a rule has a time window, so that a success must look at the clock.
    """
    wait = "await " if is_async else ""
    elapsed = ", qm_now() - qm_began" if times else ""
    lines = [
        f"{'async ' if is_async else ''}def guarded{shape.declared}:",
        "    qm_ticket = qm_machine.era",
        f"    if qm_ticket & 3{' or qm_now() >= qm_machine.look_at' if looks else ''}:",
    ]
    if has_fallback:
        lines += [
            "        try:",
            "            qm_ticket = qm_admit()",
            "        except qm_Refusal as qm_refused:",
            f"            return {wait}qm_serve(qm_refused)",
        ]
    else:
        lines.append("        qm_ticket = qm_admit()")
    if times:
        lines.append("    qm_began = qm_now()")
    lines += [
        "    try:",
        f"        qm_result = {wait}qm_call({shape.passed})",
        "    except BaseException as qm_error:",
        f"        qm_bad(qm_ticket, qm_error{elapsed})",
        "        raise",
    ]
    if judges:
        return "\n".join([*lines, f"    qm_finish(qm_ticket, qm_result{elapsed})", "    return qm_result"])
    if times or turns:
        lines.append("    qm_ended = qm_now()")
    calm = "qm_ticket == qm_machine.calm"
    calm += " and qm_ended - qm_began < qm_slow" if times else ""
    calm += " and qm_ended < qm_machine.turn" if turns else ""
    lines += [
        f"    if {calm}:",
        "        qm_tick()",
        "    else:",
        f"        qm_good(qm_ticket{', qm_ended - qm_began' if times else ''})",
        "    return qm_result",
    ]
    return "\n".join(lines)
