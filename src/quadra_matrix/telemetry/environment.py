"""How an application traces, by arguments and by variables: ours as promised, and the standard ``OTEL_`` ones."""

from __future__ import annotations

import enum
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from quadra_matrix import __version__
from quadra_matrix.errors import InvalidValue, require

log = logging.getLogger(__name__)

OLD_JAEGER_PORTS = frozenset({"6831", "6832", "5775", "14268", "14250"})
"""Ports of Jaeger's own protocols. Jaeger 2 takes OTLP alone."""


class Exporter(enum.StrEnum):
    """Where finished spans go."""

    OTLP = "otlp"
    JAEGER = "jaeger"
    ZIPKIN = "zipkin"
    CONSOLE = "console"
    EMBEDDED = "embedded"
    NONE = "none"


class Protocol(enum.StrEnum):
    """How spans travel."""

    OTLP_HTTP = "http/protobuf"
    OTLP_GRPC = "grpc"
    ZIPKIN_JSON = "zipkin"


@dataclass(frozen=True, slots=True)
class TracingOptions:
    """How an application traces."""

    exporter: Exporter = Exporter.OTLP
    protocol: Protocol = Protocol.OTLP_HTTP
    endpoint: str = "http://localhost:4318/v1/traces"
    """Address that spans are sent to; not read by ``console``, ``embedded`` and ``none``."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Sent with every export; they may hold a key."""
    service_name: str = "quadra-matrix"
    service_version: str = __version__
    environment: str | None = None
    resource: Mapping[str, str] = field(default_factory=dict)
    """What else describes this process, such as ``host.name``."""
    sample_ratio: float = 1.0
    """Part of the traces begun here that is recorded, 0 to 1. A caller's choice is followed."""
    follows_caller: bool = True
    """False if the ratio decides also where the caller has chosen."""
    queue_limit: int = 2048
    """Finished spans that may wait; a span that finds the queue full is dropped and counted."""
    batch: int = 512
    """Most spans of one export."""
    delay: float = 5.0
    """Seconds a span waits for others to travel with."""
    timeout: float = 10.0
    """Seconds one export may take."""

    def __post_init__(self) -> None:
        require(0 <= self.sample_ratio <= 1, "sample_ratio", self.sample_ratio, "from 0 to 1")
        require(self.queue_limit > 0, "queue_limit", self.queue_limit, "above 0")
        require(0 < self.batch <= self.queue_limit, "batch", self.batch, "above 0, at most queue_limit")
        for name, seconds in (("delay", self.delay), ("timeout", self.timeout)):
            require(0 < seconds < math.inf, name, seconds, "above 0")
        address = urlsplit(self.endpoint)
        is_web = address.scheme in {"http", "https"} and bool(address.hostname)
        require(is_web, "endpoint", self.endpoint, "an address such as http://localhost:4318/v1/traces")


def tracing_options(
    environ: Mapping[str, str] | None = None,
    *,
    exporter_type: str | None = None,
    service_name: str | None = None,
    sample_ratio: float | None = None,
    endpoint: str | None = None,
) -> TracingOptions:
    """Return the options: an argument first, then the ``OTEL_`` variable, then ours, then the default.

    ``environ`` defaults to the process's own. Raises ``InvalidValue`` naming the variable or the argument.
    """
    given = {name: text for name, text in (os.environ if environ is None else environ).items() if text.strip()}
    exporter = _exporter(given, exporter_type)
    protocol, address = _destination(given, exporter)
    ratio, follows_caller = _sampling(given)
    described = _resource(given)
    queue_limit = int(_number(given, "OTEL_BSP_MAX_QUEUE_SIZE", 2048))
    return TracingOptions(
        exporter=exporter,
        protocol=protocol,
        endpoint=endpoint or address,
        headers=_headers(given.get("OTEL_EXPORTER_OTLP_TRACES_HEADERS", given.get("OTEL_EXPORTER_OTLP_HEADERS", ""))),
        service_name=service_name or given.get("OTEL_SERVICE_NAME") or described["service.name"],
        service_version=described["service.version"],
        environment=described.get("deployment.environment.name"),
        resource=described,
        sample_ratio=ratio if sample_ratio is None else sample_ratio,
        follows_caller=follows_caller,
        queue_limit=queue_limit,
        batch=min(queue_limit, int(_number(given, "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512))),
        delay=_number(given, "OTEL_BSP_SCHEDULE_DELAY", 5000) / 1000,
        timeout=_number(given, "OTEL_EXPORTER_OTLP_TIMEOUT", _number(given, "OTEL_BSP_EXPORT_TIMEOUT", 10_000)) / 1000,
    )


def _exporter(given: Mapping[str, str], asked: str | None) -> Exporter:
    if given.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Exporter.NONE
    name = "exporter_type"
    if asked is None:
        name = next((known for known in ("OTEL_TRACES_EXPORTER", "TRACING_EXPORTER") if known in given), name)
        asked = given.get(name, Exporter.OTLP)
    try:
        return Exporter(asked.strip().lower())
    except ValueError:
        raise InvalidValue(name, asked, f"one of {', '.join(Exporter)}") from None


def _destination(given: Mapping[str, str], exporter: Exporter) -> tuple[Protocol, str]:
    """Return how and where the exporter sends; the standard variable of an address wins over ours."""
    if exporter is Exporter.ZIPKIN:
        ours = given.get("ZIPKIN_URL", "http://localhost:9411/api/v2/spans")
        address = given.get("OTEL_EXPORTER_ZIPKIN_ENDPOINT", ours)
        return (Protocol.OTLP_HTTP if address.endswith("/v1/traces") else Protocol.ZIPKIN_JSON), address
    asked = given.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", given.get("OTEL_EXPORTER_OTLP_PROTOCOL"))
    jaeger_port = _jaeger_port(given) if exporter is Exporter.JAEGER else "4318"
    protocol = _protocol(asked or ("grpc" if jaeger_port == "4317" else "http/protobuf"))
    is_grpc = protocol is Protocol.OTLP_GRPC
    exact = given.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    if exact:
        return protocol, exact
    if exporter is Exporter.JAEGER:
        port = "4317" if is_grpc and jaeger_port == "4318" else jaeger_port
        ours = f"http://{given.get('JAEGER_HOST', 'localhost')}:{port}"
    else:
        ours = f"http://localhost:{4317 if is_grpc else 4318}"
    root = given.get("OTEL_EXPORTER_OTLP_ENDPOINT", ours).rstrip("/")
    return protocol, root if is_grpc else f"{root}/v1/traces"


def _protocol(text: str) -> Protocol:
    if text not in {Protocol.OTLP_HTTP, Protocol.OTLP_GRPC}:
        raise InvalidValue("OTEL_EXPORTER_OTLP_PROTOCOL", text, "http/protobuf or grpc")
    return Protocol(text)


def _jaeger_port(given: Mapping[str, str]) -> str:
    port = given.get("JAEGER_PORT", "4318").strip()
    require(port.isascii() and port.isdigit() and 0 < int(port) < 65536, "JAEGER_PORT", port, "from 1 to 65535")
    if port not in OLD_JAEGER_PORTS:
        return port
    log.info("JAEGER_PORT=%s is of a protocol that Jaeger has given up; spans go to its OTLP port 4318", port)
    return "4318"


def _sampling(given: Mapping[str, str]) -> tuple[float, bool]:
    """Return the ratio and whether the caller's choice goes before it."""
    sampler = given.get("OTEL_TRACES_SAMPLER", "parentbased_traceidratio").strip().lower()
    follows_caller = sampler.startswith("parentbased_")
    kind = sampler.removeprefix("parentbased_")
    if kind == "traceidratio":
        return _number(given, "OTEL_TRACES_SAMPLER_ARG", 1.0), follows_caller
    ratios = {"always_on": 1.0, "always_off": 0.0}
    if kind not in ratios:
        rule = "always_on, always_off or traceidratio, also with parentbased_ before it"
        raise InvalidValue("OTEL_TRACES_SAMPLER", sampler, rule)
    return ratios[kind], follows_caller


def _resource(given: Mapping[str, str]) -> dict[str, str]:
    """Return what ``OTEL_RESOURCE_ATTRIBUTES`` says of this process, and where it is silent, what ours do."""
    ours = {"service.name": given.get("SERVICE_NAME", "quadra-matrix")}
    ours["service.version"] = given.get("SERVICE_VERSION", __version__)
    if "ENVIRONMENT" in given:
        ours["deployment.environment.name"] = given["ENVIRONMENT"]
    return {**ours, **_pairs(given.get("OTEL_RESOURCE_ATTRIBUTES", ""))}


def _number(given: Mapping[str, str], name: str, default: float) -> float:
    try:
        number = float(given.get(name, default))
    except ValueError:
        number = math.nan
    require(0 <= number < math.inf, name, given.get(name), "a number, 0 or more")
    return number


def _headers(text: str) -> dict[str, str]:
    return {key.lower(): value for key, value in _pairs(text).items()}


def _pairs(text: str) -> dict[str, str]:
    """Return the pairs of ``key=value,key=value``; values are percent-encoded."""
    pairs = (part.partition("=") for part in text.split(","))
    return {key.strip(): unquote(value.strip()) for key, is_pair, value in pairs if is_pair and key.strip()}
