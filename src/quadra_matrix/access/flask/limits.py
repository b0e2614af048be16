"""``setup_rate_limits``: how often one caller, one address or all together may call a route."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from flask import Flask, Request, Response
from flask.globals import request_ctx

from quadra_matrix.access.flask.answers import Answer, answer_refusals, problem_answer
from quadra_matrix.access.flask.guard import known_identity
from quadra_matrix.access.heard import log_event
from quadra_matrix.access.identity import Via
from quadra_matrix.access.limiter import Limiter, MemoryBuckets
from quadra_matrix.access.limits import By, Decision, Direction, Limit, policy_of, read_limit, state_of
from quadra_matrix.errors import AccessUndecided, TooManyRequests
from quadra_matrix.events import Hook
from quadra_matrix.events.access import LimitReached

_EXTENSION = "quadra_matrix.rate_limits"
_SAID = "quadra.limits"


@dataclass(frozen=True, slots=True)
class _Rule:
    """A limit with what is the same for every request."""

    limit: Limit
    name: str
    on: str
    policy: str
    """What ``RateLimit-Policy`` says of it."""


_Said = list[tuple[_Rule, Decision]]
"""What the limits of one request said."""


class RateLimits:
    """The limits of one application. May be shared between threads."""

    def __init__(
        self, limits: Sequence[Limit], limiter: Limiter, *, exempt: Iterable[str] = (), hook: Hook = log_event
    ) -> None:
        self._rules = [_Rule(limit, limit.name, limit.on, policy_of(limit)) for limit in limits]
        self._early = [rule for rule in self._rules if rule.limit.by is not By.CALLER]
        self._late = [rule for rule in self._rules if rule.limit.by is By.CALLER]
        self.limiter, self._hook = limiter, hook
        self._exempt = frozenset(exempt)

    def check_before(self) -> None:
        """Count by address and by route, before anybody looks who calls."""
        if self._early:
            self._check(self._early)

    def check_after(self) -> None:
        """Count by caller, once it is known who that is."""
        if self._late:
            self._check(self._late)

    def may_meet(self, endpoint: str, path: str) -> bool:
        """Tell whether a limit can be about an operation; ``path`` has its variable parts in braces."""
        fixed, brace, _ = path.partition("{")
        meant = (fixed.startswith(rule.on) or (brace and rule.on.startswith(fixed)) for rule in self._rules)
        return not self._is_exempt(endpoint) and any(meant)

    def _check(self, rules: Sequence[_Rule]) -> None:
        asked = request_ctx.request
        if self._exempt and self._is_exempt(asked.endpoint or ""):
            return
        path = asked.path
        meant = [rule for rule in rules if path.startswith(rule.on)]
        for direction in dict.fromkeys(rule.limit.direction for rule in meant):
            self._take(asked, [rule for rule in meant if rule.limit.direction is direction], direction)

    def _is_exempt(self, endpoint: str) -> bool:
        return endpoint in self._exempt or endpoint.rpartition(".")[0] in self._exempt

    def _take(self, asked: Request, rules: Sequence[_Rule], direction: Direction) -> None:
        buckets = [(f"{rule.name}:{_whose(asked, rule.limit.by)}", rule.limit.rate) for rule in rules]
        told = list(zip(rules, self.limiter.take(buckets, direction), strict=False))  # nothing where limits fail open
        asked.environ.setdefault(_SAID, []).extend(told)
        for rule, decision in told:
            if not decision.is_allowed:
                self._hook(LimitReached(rule.name, _whose(asked, rule.limit.by)))
                raise TooManyRequests(rule.name, decision.retry_after)


def setup_rate_limits(
    app: Flask,
    limits: Iterable[Limit | str],
    *,
    limiter: Limiter | None = None,
    exempt: Iterable[str] = (),
    answer: Answer = problem_answer,
    hook: Hook = log_event,
) -> RateLimits:
    """Answer 429 with ``Retry-After`` where a limit is reached; tell callers their limits on every answer.

    A limit is written as ``"100/minute by caller on /api"``: by caller, address or route. The address is the peer's,
    or what ``setup_tls(trusted_hops=...)`` made of it. ``exempt`` names endpoints or blueprints without limits.
    ``limiter`` counts; by default each process for itself. Call it after ``setup_access``.
    """
    chosen = [limit if isinstance(limit, Limit) else read_limit(limit) for limit in limits]
    rules = RateLimits(chosen, limiter or Limiter(MemoryBuckets()), exempt=exempt, hook=hook)
    answer_refusals(app, answer, (TooManyRequests, AccessUndecided))
    app.before_request_funcs.setdefault(None, []).insert(0, rules.check_before)
    app.before_request(rules.check_after)
    app.after_request(_tell)
    app.extensions[_EXTENSION] = rules
    return rules


def limits_of(app: Flask) -> RateLimits:
    """Return the limits of an application; none if it has none."""
    found = app.extensions.get(_EXTENSION)
    return found if isinstance(found, RateLimits) else RateLimits((), Limiter(MemoryBuckets()))


def _tell(response: Response) -> Response:
    said: _Said | None = request_ctx.request.environ.get(_SAID)
    if said:
        response.headers["RateLimit-Policy"] = ", ".join([rule.policy for rule, _ in said])
        response.headers["RateLimit"] = ", ".join([state_of(rule.name, decision) for rule, decision in said])
    return response


def _whose(asked: Request, by: By) -> str:
    """Return the name of those whose calls are counted together with this one."""
    if by is By.ROUTE:
        rule = asked.url_rule
        return rule.rule if rule is not None else "none"
    identity = known_identity() if by is By.CALLER else None
    if identity is not None and identity.via not in (Via.NOTHING, Via.LOCAL):
        return identity.subject
    return network_of(asked.remote_addr or "")


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return whose address it is: an IPv4 address itself, of IPv6 the network of 64 bits."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if found.version == 4:
        return str(found)
    mapped = found.ipv4_mapped
    return str(mapped) if mapped is not None else str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
