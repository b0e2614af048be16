"""The settings to the parts that decide who is let in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from contextlib import ExitStack

from flask import Flask, Response

from quadra_matrix.access.flask import Access, setup_access, setup_cors, setup_rate_limits, setup_sign_in
from quadra_matrix.access.flask.answers import STATUSES
from quadra_matrix.access.gate import GateOptions, Tokens
from quadra_matrix.access.identity import EVERYTHING
from quadra_matrix.access.keyring import Keyring
from quadra_matrix.access.keys import pepper
from quadra_matrix.access.limiter import Guard, Limiter, MemoryBuckets
from quadra_matrix.access.origins import Origins
from quadra_matrix.api.flask import problem_response
from quadra_matrix.api.problem import kind_of
from quadra_matrix.clock import SYSTEM_CLOCK, Clock
from quadra_matrix.errors import AccessRefused
from quadra_matrix.events import Hook, ignore
from quadra_matrix.service.access.operations import NEEDS, OPERATE
from quadra_matrix.service.experiments import ChangesFile
from quadra_matrix.service.secret import new_secret
from quadra_matrix.service.settings import Environment, Settings
from quadra_matrix.storage.sql import Database
from quadra_matrix.storage.sql.keys import SqlKeys

UNLIMITED = ("health",)
"""Blueprints that no limit is about: whoever probes the service must not be refused."""


def signing_secret(settings: Settings) -> str:
    """Return the secret key; development makes one of its own, once, in a file that only its owner reads."""
    if settings.secret_key is not None:
        return settings.secret_key.get_secret_value()
    file = settings.data_dir / "secret-key"
    file.parent.mkdir(parents=True, exist_ok=True)
    own = file.with_name(f"secret-key.{os.getpid()}")
    own.unlink(missing_ok=True)
    with open(os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as made:  # noqa: PTH123 - a descriptor
        made.write(new_secret())
    with contextlib.suppress(FileExistsError):  # another process was first: its key holds
        os.link(own, file)
    own.unlink()
    return file.read_text()


def keyring_of(settings: Settings, database: Database, clock: Clock = SYSTEM_CLOCK) -> Keyring:
    """Return the keys and sessions of the service; every process of this machine sees a change at once."""
    secrets = [signing_secret(settings), *(key.get_secret_value() for key in settings.previous_secret_keys)]
    changes = ChangesFile(settings.data_dir / "keys-changed")
    return Keyring(SqlKeys(database), [pepper(each) for each in secrets], changes=changes, clock=clock)


def tokens_of(settings: Settings, clock: Clock = SYSTEM_CLOCK, *, hook: Hook = ignore) -> Tokens | None:
    """Return what verifies the tokens of the issuer in the settings; None without one."""
    if settings.oidc_issuer is None:
        return None
    from quadra_matrix.access.claims import ClaimRules
    from quadra_matrix.access.issuer import Issuer  # the extra is needed only where an issuer is set
    from quadra_matrix.access.tokens import OidcTokens

    rules = ClaimRules(
        settings.oidc_issuer,
        settings.oidc_audience or "",
        scope_claim=settings.oidc_scope_claim,
        scope_prefix=settings.oidc_scope_prefix,
    )
    return OidcTokens(Issuer(settings.oidc_issuer, hook=hook, clock=clock), rules, clock=clock)


def gate_options(settings: Settings) -> GateOptions:
    """Return who is let in without a credential: development is open on this machine only."""
    in_production = settings.environment is Environment.PRODUCTION
    return GateOptions(
        anonymous_scopes=frozenset(settings.anonymous_scopes),
        local_scopes=frozenset() if in_production else frozenset({EVERYTHING}),
        trusted_origins=Origins.of(settings.allowed_origins if settings.cors_credentials else ()),
    )


def limiter_of(settings: Settings, guard: Guard, built: ExitStack, *, hook: Hook = ignore) -> Limiter:
    """Return what counts calls: Redis where there is one, behind ``guard``; else each process for itself."""
    if not settings.redis_url:
        return Limiter(MemoryBuckets(), hook=hook)
    from quadra_matrix.access.redis import RedisBuckets  # the extra is needed only where an address is set

    shared = RedisBuckets(settings.redis_url)
    built.callback(shared.close)
    limiter = Limiter(MemoryBuckets(), shared, guard=guard, hook=hook)
    built.callback(limiter.close)
    return limiter


def guard(app: Flask, settings: Settings, keyring: Keyring, limiter: Limiter, *, hook: Hook = ignore) -> Access:
    """Let only those call an operation of the service who have its scope."""
    options = gate_options(settings)
    setup_cors(app, settings.allowed_origins, credentials=settings.cors_credentials)
    access = setup_access(
        app,
        keyring,
        tokens=tokens_of(settings, hook=hook),
        needs=NEEDS,
        default=OPERATE,
        anonymous=options.anonymous_scopes,
        local=options.local_scopes,
        trusted_origins=options.trusted_origins.listed,
        answer=_answer,
        hook=hook,
    )
    setup_rate_limits(app, settings.rate_limits, limiter=limiter, exempt=UNLIMITED, answer=_answer, hook=hook)
    setup_sign_in(app, keyring, seconds=settings.session_hours * 3600, limiter=limiter, hook=hook)
    return access


def _answer(refused: AccessRefused, headers: Mapping[str, str]) -> Response:
    """Return a refusal as every other problem of the service, with the id of its trace."""
    kind = kind_of(type(refused), STATUSES[type(refused)])
    return problem_response(kind.problem(str(refused)), headers)
