"""Every option of the ready service, and where its value came from; the only reader of the environment."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, NoDecode, SettingsConfigDict

from quadra_matrix.access.limits import read_limit
from quadra_matrix.access.origins import ANY_ORIGIN, require_origin, require_secure
from quadra_matrix.errors import InvalidSettings, InvalidValue
from quadra_matrix.loopback import is_loopback
from quadra_matrix.service.secret import weakness
from quadra_matrix.telemetry.environment import Exporter, tracing_options
from quadra_matrix.telemetry.traces import SMALLEST

if TYPE_CHECKING:
    from quadra_matrix.tls.ordering import OrderOptions

PREFIX = "QUADRA_"

SCOPES = frozenset({"predict", "read", "metrics", "write", "operate"})
"""What a key of the service can be allowed."""

WRITING_SCOPES = frozenset({"write", "operate"})
"""Scopes with which a caller changes something."""


class Environment(enum.StrEnum):
    """Where the service runs; production refuses what only development may do."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class ExecutorName(enum.StrEnum):
    """Who runs training jobs."""

    LOCAL = "local"
    DASK = "dask"
    KUBERNETES = "kubernetes"


class LogLevel(enum.StrEnum):
    """The least severe record that is written."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


def _split(given: object) -> object:
    """Return the parts of a comma-separated text; anything else is left to the field's type."""
    return tuple(part for part in map(str.strip, given.split(",")) if part) if isinstance(given, str) else given


Port = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Folder = Annotated[Path, AfterValidator(Path.absolute)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]


class Settings(BaseSettings):
    """The service's options: arguments first, then the environment, then the file ``.env``, then the defaults.

    Frozen, so it may be shared between threads. Constructing one raises pydantic's ``ValidationError``; a program
    that reports to a person calls ``load``.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",  # .env is shared with other programs: docker compose reads it too
        frozen=True,
        use_attribute_docstrings=True,
        validate_default=True,  # a rule may ask for a value that is not there
        validate_by_name=True,
        hide_input_in_errors=True,
    )

    environment: Environment = Environment.DEVELOPMENT
    """development or production. Production refuses to start without a strong secret key."""

    secret_key: SecretStr | None = Field(
        default=None, validation_alias=AliasChoices("QUADRA_SECRET_KEY", "SECRET_KEY"), repr=False
    )
    """Signs what the service hands out; 32 bytes or more. Plain SECRET_KEY is read too."""

    data_dir: Folder = Path("quadra-data")
    """Folder of everything that must last: database, datasets, models, logs."""

    database_url: str = Field(default_factory=lambda given: f"sqlite:///{given['data_dir'] / 'quadra.db'}", repr=False)
    """sqlite:///file or postgresql://user:password@host/name. The default is a file in the data folder."""

    host: str = "127.0.0.1"
    """Address the HTTP server and the WebSocket hub listen on."""

    port: Port = 5000
    """TCP port of the HTTP server."""

    hub_port: Port = 5001
    """TCP port of the WebSocket hub."""

    trusted_hops: int = Field(default=0, ge=0)
    """Proxies in front, exactly; one too many lets clients choose their address. Their X-Forwarded headers count."""

    tls: bool = False
    """Serve HTTPS and wss instead of HTTP and ws."""

    acme_email: str | None = None
    """Address at which the certificate authority reaches you."""

    acme_agree: bool = False
    """Agree to the terms of service of the certificate authority."""

    acme_directory: str = "https://acme-v02.api.letsencrypt.org/directory"
    """Directory of the certificate authority (ACME). The default is Let's Encrypt."""

    acme_roots: Folder | None = None
    """PEM file that vouches for the directory's own certificate; unset means the public authorities."""

    acme_profile: str | None = None
    """Profile of the authority, such as shortlived; unset means its default."""

    acme_names: Words = ()
    """Host names, separated by commas, of a certificate that the authority issues and the service renews."""

    tls_certificate: Folder | None = None
    """PEM file of the certificate and its intermediates; unset means one for localhost, which production refuses."""

    tls_key: Folder | None = None
    """PEM file of the certificate's key. Both files are watched: a renewed pair is served without a restart."""

    tls_redirect_port: Port | None = None
    """TCP port that sends plain HTTP to HTTPS, and answers certificate authorities; unset means none."""

    tls_handshake_seconds: Seconds = 10.0
    """Seconds that a client has for its TLS handshake."""

    tls_client_ca: Folder | None = None
    """PEM file of authorities; clients are asked for a certificate of theirs. Unset asks for none."""

    tls_client_crl: Folder | None = None
    """PEM file of the authority's revocation list, watched; unset accepts every certificate in its time."""

    tls_client_required: bool = True
    """Refuse clients without a certificate; otherwise only those whose certificate is not good."""

    tls_client_header: str | None = Field(default=None, pattern=r"^[A-Za-z0-9-]+$")
    """Header in which the trusted proxies in front pass a client's certificate on."""

    tls_hsts_seconds: int = Field(
        default_factory=lambda given: 31_536_000 if given.get("environment") is Environment.PRODUCTION else 0, ge=0
    )
    """Seconds for which browsers refuse plain HTTP. The default is a year in production and 0 in development."""

    workers: Count = 2
    """HTTP worker processes."""

    grace_seconds: Seconds = 30.0
    """Seconds that requests in flight have to finish after a stop signal."""

    executor: ExecutorName = ExecutorName.LOCAL
    """Who runs training jobs: local processes, a Dask cluster, or Jobs of a Kubernetes cluster."""

    dask_address: str | None = None
    """Address of a running Dask scheduler, such as tcp://127.0.0.1:8786; needed by the dask executor."""

    kubernetes_pod: str | None = None
    """Pod whose image, variables and volumes the pods of jobs get; unset means the service's own."""

    kubernetes_namespace: str | None = None
    """Namespace of the service's pod and of the Jobs; unset means that of the cluster's configuration."""

    max_running_jobs: Count = 2
    """Training jobs that run at once; the others wait."""

    queue_limit: Count = 100
    """Training jobs that may wait; past it a request is refused with Retry-After."""

    job_lease_seconds: Seconds = 6.0
    """Seconds without a heartbeat after which a running job counts as dead."""

    max_upload_bytes: Count = 100 * 1024 * 1024
    """Largest dataset upload, in bytes."""

    max_batch_rows: Count = 10_000
    """Most rows of one prediction request."""

    default_model: str = Field(default="sample", min_length=1)
    """Model that answers a prediction that names none; readiness waits until it is warm."""

    allowed_origins: Words = ()
    """Web origins, separated by commas, that may call from a browser; the service's own are always allowed."""

    cors_credentials: bool = False
    """Let pages of the allowed origins send the session's cookie; not together with the origin *."""

    rate_limits: Words = ()
    """Limits, separated by commas, such as 600/minute by caller, 20/second by address on /api/predict."""

    anonymous_scopes: Words = ()
    """Scopes, separated by commas, of callers without a credential: predict, read, metrics, write, operate."""

    allow_anonymous_writes: bool = False
    """Let production start although anonymous callers may write or operate."""

    oidc_issuer: str | None = None
    """Address of the OpenID Connect issuer whose bearer tokens are accepted, as its tokens name it."""

    oidc_audience: str | None = None
    """What the issuer's tokens must name as their audience: this service."""

    oidc_scope_claim: str = Field(default="scope", min_length=1)
    """Claim that holds the scopes, by dots for one inside another: scope, roles, realm_access.roles."""

    oidc_scope_prefix: str = ""
    """What the service's scopes begin with in that claim, such as quadra:."""

    previous_secret_keys: Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(), repr=False
    )
    """Earlier secret keys, separated by commas, whose API keys and sessions still hold."""

    session_hours: Annotated[float, Field(gt=0, le=24 * 30)] = 12.0
    """Hours after which an operator signs in again."""

    redis_url: str | None = Field(default=None, repr=False)
    """redis://host:port/0, for state that several machines share; unset means none."""

    api_pages: bool = True
    """Serve /api/docs, /api/redoc and /api/asyncapi; the documents they show are served in any case."""

    api_password: SecretStr | None = Field(default=None, repr=False)
    """Password, under any user name, that the API's documents and pages ask for; unset leaves them open."""

    backup_target: str | None = None
    """Where backups are kept: a folder, or s3://bucket/prefix; unset means backups in the data folder."""

    backup_every_hours: Annotated[float, Field(ge=0.1, le=24 * 366, allow_inf_nan=False)] | None = None
    """Hours between two backups by the service itself; unset means that it makes none."""

    backup_keep_last: Count = 7
    """Newest backups that are always kept."""

    backup_keep_days: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 30.0
    """Days for which every backup is kept; older ones that are not among the newest are removed."""

    backup_recipients: Words = ()
    """Public keys of age, separated by commas, that backups are encrypted to; unset leaves them readable."""
    tracing_exporter: Exporter = Field(
        default=Exporter.EMBEDDED, validation_alias=AliasChoices("QUADRA_TRACING_EXPORTER", "TRACING_EXPORTER")
    )
    """embedded (in the data folder), otlp, jaeger, zipkin, console or none. Plain TRACING_EXPORTER is read too."""

    tracing_endpoint: str | None = None
    """Address that traces are sent to, such as http://localhost:4318/v1/traces; OTEL_EXPORTER_ goes first."""

    tracing_sample_ratio: float = Field(default=1.0, ge=0, le=1)
    """Part of the traces begun here that is recorded, 0 to 1; OTEL_TRACES_SAMPLER goes first."""

    trace_store_bytes: int = Field(default=64 * 1024 * 1024, ge=SMALLEST)
    """Bytes of the newest traces that are kept in the data folder."""

    log_level: LogLevel = LogLevel.INFO
    """DEBUG, INFO, WARNING or ERROR."""

    @field_validator("secret_key")
    @classmethod
    def _is_strong_in_production(cls, key: SecretStr | None, rest: ValidationInfo) -> SecretStr | None:
        if rest.data.get("environment") is Environment.PRODUCTION:
            why = weakness(key.get_secret_value() if key else "")
            if why:
                raise ValueError(f"production needs a strong SECRET_KEY; {why}; make one with: quadra config secret")
        return key

    @field_validator("allow_anonymous_writes")
    @classmethod
    def _is_said_in_production(cls, allowed: bool, rest: ValidationInfo) -> bool:
        risky = sorted(WRITING_SCOPES.intersection(rest.data.get("anonymous_scopes", ())))
        if rest.data.get("environment") is Environment.PRODUCTION and risky and not allowed:
            raise ValueError(
                f"production does not start while callers without a credential may {', '.join(risky)}; take "
                "that out of QUADRA_ANONYMOUS_SCOPES, or set this to true"
            )
        return allowed

    @field_validator("anonymous_scopes")
    @classmethod
    def _are_scopes(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        unknown = sorted(set(scopes) - SCOPES)
        if unknown:
            raise ValueError(f"{', '.join(unknown)} is no scope; the scopes are {', '.join(sorted(SCOPES))}")
        return scopes

    @field_validator("oidc_issuer")
    @classmethod
    def _is_asked_securely(cls, issuer: str | None) -> str | None:
        return None if issuer is None else require_secure(issuer)

    @field_validator("oidc_audience")
    @classmethod
    def _is_given_for_the_issuer(cls, audience: str | None, rest: ValidationInfo) -> str | None:
        if rest.data.get("oidc_issuer") and not audience:
            raise ValueError("tokens of the issuer for other services would be accepted; say which are for this one")
        return audience

    @field_validator("rate_limits")
    @classmethod
    def _are_limits(cls, limits: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(read_limit(limit).name for limit in limits)

    @field_validator("allowed_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(origin if origin == ANY_ORIGIN else require_origin(origin) for origin in origins)

    @field_validator("cors_credentials")
    @classmethod
    def _are_not_for_every_origin(cls, credentials: bool, rest: ValidationInfo) -> bool:
        if credentials and ANY_ORIGIN in rest.data.get("allowed_origins", ()):
            raise ValueError("with the origin * every site could act for whoever is signed in; list the origins")
        return credentials

    @field_validator("database_url")
    @classmethod
    def _names_a_known_database(cls, url: str) -> str:
        if url.partition(":")[0].partition("+")[0] not in {"sqlite", "postgresql", "postgres"}:
            raise ValueError("Address should start with sqlite:// or postgresql://")
        return url

    @field_validator("tls")
    @classmethod
    def _is_safe_in_production(cls, tls: bool, rest: ValidationInfo) -> bool:
        in_production = rest.data.get("environment") is Environment.PRODUCTION
        if in_production and not tls and not rest.data.get("trusted_hops") and not is_loopback(rest.data["host"]):
            raise ValueError(
                "production serves the network over TLS; set QUADRA_TLS, or QUADRA_TRUSTED_HOPS for a proxy that does"
            )
        return tls

    @field_validator("acme_names")
    @classmethod
    def _can_be_ordered(cls, names: tuple[str, ...], rest: ValidationInfo) -> tuple[str, ...]:
        if names:
            if rest.data.get("secret_key") is None:
                raise ValueError("the keys stand in the database, sealed with SECRET_KEY; set it")
            if not rest.data.get("acme_email") or not rest.data.get("acme_agree"):
                raise ValueError("the authority wants an address and your agreement; set QUADRA_ACME_EMAIL and _AGREE")
            _order_of(names, rest.data)
        return names

    @field_validator("tls_key")
    @classmethod
    def _comes_with_its_certificate(cls, key: Path | None, rest: ValidationInfo) -> Path | None:
        if (key is None) != (rest.data.get("tls_certificate") is None):
            raise ValueError("the certificate and its key are given together")
        if key is not None and rest.data.get("acme_names"):
            raise ValueError("QUADRA_ACME_NAMES has a certificate issued; name files or have one issued, not both")
        is_issued = bool(rest.data.get("acme_names"))
        if (
            key is None
            and not is_issued
            and rest.data.get("tls")
            and rest.data.get("environment") is Environment.PRODUCTION
        ):
            raise ValueError(
                "production needs a certificate that clients trust; name it and its key, or set QUADRA_ACME_NAMES"
            )
        return key

    @field_validator("tls_client_ca")
    @classmethod
    def _asks_over_tls(cls, authorities: Path | None, rest: ValidationInfo) -> Path | None:
        if authorities is not None and not rest.data.get("tls"):
            raise ValueError("clients show certificates over TLS alone; set QUADRA_TLS")
        return authorities

    @field_validator("tls_client_crl")
    @classmethod
    def _belongs_to_an_authority(cls, revoked: Path | None, rest: ValidationInfo) -> Path | None:
        if revoked is not None and rest.data.get("tls_client_ca") is None:
            raise ValueError("a revocation list needs the authority that signs it; set QUADRA_TLS_CLIENT_CA")
        return revoked

    @field_validator("tls_client_header")
    @classmethod
    def _comes_from_a_trusted_proxy(cls, header: str | None, rest: ValidationInfo) -> str | None:
        if header is not None and not rest.data.get("trusted_hops"):
            raise ValueError("only a proxy may pass certificates on; count those in front in QUADRA_TRUSTED_HOPS")
        return header

    @field_validator("tls_redirect_port")
    @classmethod
    def _leaves_the_ports_to_https(cls, port: int | None, rest: ValidationInfo) -> int | None:
        if port is not None and port in (rest.data.get("port"), rest.data.get("hub_port")):
            raise ValueError(f"Port {port} speaks TLS; the redirect needs its own")
        return port

    @field_validator("tracing_endpoint")
    @classmethod
    def _is_a_web_address(cls, endpoint: str | None) -> str | None:
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise ValueError("Address should start with http:// or https://")
        return endpoint

    @field_validator("hub_port")
    @classmethod
    def _leaves_the_port_to_http(cls, hub_port: int, rest: ValidationInfo) -> int:
        if hub_port == rest.data.get("port"):
            raise ValueError(f"Port {hub_port} is the HTTP server's; the hub needs its own")
        return hub_port

    @field_validator("dask_address")
    @classmethod
    def _is_given_for_dask(cls, address: str | None, rest: ValidationInfo) -> str | None:
        if rest.data.get("executor") is ExecutorName.DASK and not address:
            raise ValueError("the dask executor needs the scheduler's address, such as tcp://127.0.0.1:8786")
        return address

    @property
    def datasets_dir(self) -> Path:
        """Folder of uploaded datasets."""
        return self.data_dir / "datasets"

    @property
    def models_dir(self) -> Path:
        """Folder of published models: name, then version."""
        return self.data_dir / "models"

    @property
    def run_dir(self) -> Path:
        """Folder of what lives only while the service runs: process ids, sockets, metric files."""
        return self.data_dir / "run"

    @property
    def stopping_file(self) -> Path:
        """File that exists from a stop signal until the next start: no worker is ready meanwhile."""
        return self.run_dir / "stopping"

    @property
    def ports(self) -> tuple[int, ...]:
        """Every TCP port that the service listens on."""
        redirect = self.tls_redirect_port if self.tls else None
        return (self.port, self.hub_port, *([] if redirect is None else [redirect]))

    @property
    def certs_dir(self) -> Path:
        """Folder of the certificate that is made where none is named."""
        return self.data_dir / "certs"

    @property
    def acme_dir(self) -> Path:
        """Folder of the certificate that an authority issues: ``cert.pem`` and ``key.pem``."""
        return self.certs_dir / self.acme_names[0].lower()

    def acme_order(self) -> OrderOptions:
        """Return what is ordered from the authority; the HTTP workers answer its challenges."""
        return _order_of(self.acme_names, {name: getattr(self, name) for name in type(self).model_fields})

    @property
    def logs_dir(self) -> Path:
        """Folder of what jobs and processes wrote."""
        return self.data_dir / "logs"

    @property
    def metrics_dir(self) -> Path:
        """Folder in which the workers share their metrics."""
        return self.run_dir / "metrics"

    @property
    def traces_file(self) -> Path:
        """File of the newest traces, which every process of the service adds to."""
        return self.data_dir / "traces.db"

    def tracing_variables(self) -> dict[str, str]:
        """Return the variables that tracing is set up by: those of the process, and where they are silent, ours."""
        given = {name.upper(): text for name, text in DotEnvSettingsSource(Settings).env_vars.items() if text}
        given |= {name: text for name, text in os.environ.items() if text}
        given["TRACING_EXPORTER"] = self.tracing_exporter
        given.setdefault("ENVIRONMENT", self.environment)
        given.setdefault("OTEL_TRACES_SAMPLER_ARG", str(self.tracing_sample_ratio))
        if self.tracing_endpoint and not any(name.startswith("OTEL_EXPORTER_") for name in given):
            given["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = self.tracing_endpoint
            given["OTEL_EXPORTER_ZIPKIN_ENDPOINT"] = self.tracing_endpoint
        return given

    def child_environment(self) -> dict[str, str]:
        """Return this process's environment plus the variables by which a child loads these same settings.

        It holds the secrets: pass it to a process, never to a log.
        """
        return dict(os.environ) | {variables(name)[0]: _text(value) for name, value in self if value is not None}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the value of one option stands."""

    place: str
    """``environment``, ``.env`` or ``default``."""
    variable: str | None = None
    """The variable that was read; None for a default."""
    text: str | None = field(default=None, repr=False)
    """What the variable held; it may be a secret."""


def load(**given: Any) -> Settings:
    """Return the settings of this process; raise ``InvalidSettings`` with every refused option at once.

    ``given`` holds options of the command line; a None there means that the option was not used.
    """
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
        tracing_options(settings.tracing_variables())
    except InvalidValue as refused:
        raise InvalidSettings({refused.field: f"must be {refused.rule}"}) from None
    except ValidationError as refused:
        problems = {
            _place(error["loc"]): _rule(error["msg"])
            for error in refused.errors()
            if error["type"] != "default_factory_not_called"  # follows from another refusal
        }
        raise InvalidSettings(problems) from None  # unchained: pydantic's error holds the values, secrets too
    return settings


def sources() -> Mapping[str, Source]:
    """Return where each option's value comes from in this process."""
    read = {
        "environment": EnvSettingsSource(Settings).env_vars,
        ".env": DotEnvSettingsSource(Settings).env_vars,
    }
    return {name: _source(name, read) for name in Settings.model_fields}


def unknown_variables() -> list[str]:
    """Return the ``QUADRA_`` variables of the environment and ``.env`` that no option reads: most are misspelt."""
    known = {variable.lower() for name in Settings.model_fields for variable in variables(name)} | NOT_OPTIONS
    found = {*EnvSettingsSource(Settings).env_vars, *DotEnvSettingsSource(Settings).env_vars}
    return sorted(name.upper() for name in found if name.lower().startswith(PREFIX.lower()) and name not in known)


NOT_OPTIONS = frozenset(
    {"quadra_url", "quadra_api_key", "quadra_test_no_skip", "quadra_test_kubeconfig", "quadra_test_image"}
)
"""Variables of the commands and the tests, which are no options of the service."""


def variables(name: str) -> list[str]:
    """Return the variables that set an option; the first one found wins."""
    alias = Settings.model_fields[name].validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [PREFIX + name.upper()]


def options() -> Mapping[str, FieldInfo]:
    """Return every option with its type, default and description, in the order of this file."""
    return Settings.model_fields


def _order_of(names: tuple[str, ...], given: Mapping[str, Any]) -> OrderOptions:
    """Return the order that options make; one that makes no sense is refused."""
    from quadra_matrix.tls.ordering import OrderOptions  # the extra is needed only where a certificate is ordered

    return OrderOptions(
        domain=names[0],
        email=given["acme_email"],
        also=names[1:],
        directory=given["acme_directory"],
        roots=given["acme_roots"],
        profile=given["acme_profile"],
        agree_to_terms=given["acme_agree"],
        http_port=None,
    )


def _source(name: str, read: Mapping[str, Mapping[str, str | None]]) -> Source:
    for place, found in read.items():
        for variable in variables(name):
            text = found.get(variable.lower())
            if text:
                return Source(place, variable, text)
    return Source("default")


def _text(value: object) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return ",".join(map(_text, value)) if isinstance(value, tuple) else str(value)


def _place(location: tuple[int | str, ...]) -> str:
    """Return the variable that an error of pydantic is about."""
    name = str(location[0])
    return variables(name)[0] if name in Settings.model_fields else name


def _rule(message: str) -> str:
    return message.removeprefix("Value error, ")
