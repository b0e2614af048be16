"""How finished spans reach the receiver that the options name."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opentelemetry.util.types import AnyValue

from quadra_matrix import __version__
from quadra_matrix.errors import MissingExtra
from quadra_matrix.telemetry import zipkin
from quadra_matrix.telemetry.environment import Exporter, Protocol, TracingOptions
from quadra_matrix.telemetry.http import Post
from quadra_matrix.telemetry.otel.otlp import export_request
from quadra_matrix.telemetry.otel.read import plain
from quadra_matrix.telemetry.otel.span import RecordedSpan
from quadra_matrix.telemetry.span import Span

Deliver = Callable[[Sequence[Span]], None]
"""Takes finished spans in process; runs on the exporting thread."""


def sender(options: TracingOptions, deliver: Deliver) -> Callable[[Sequence[RecordedSpan]], None]:
    """Return what delivers a batch; ``deliver`` serves the exporters that stay in this process."""
    service = options.service_name
    if options.exporter in {Exporter.CONSOLE, Exporter.EMBEDDED, Exporter.NONE}:
        return lambda batch: deliver([plain(span, service) for span in batch])
    if options.protocol is Protocol.ZIPKIN_JSON:
        post = _post(options, "application/json")
        return lambda batch: post(zipkin.encode(plain(span, service) for span in batch))
    send = _grpc(options) if options.protocol is Protocol.OTLP_GRPC else _post(options, "application/x-protobuf")
    resource = resource_of(options)
    return lambda batch: send(export_request(batch, resource))


def resource_of(options: TracingOptions) -> dict[str, AnyValue]:
    """Return what is the same for all spans of this process."""
    described: dict[str, AnyValue] = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "quadra-matrix",
        "telemetry.sdk.version": __version__,
        **options.resource,
        "service.name": options.service_name,
        "service.version": options.service_version,
    }
    if options.environment:
        described["deployment.environment.name"] = options.environment
    return described


def _post(options: TracingOptions, content_type: str) -> Callable[[bytes], None]:
    return Post(options.endpoint, content_type=content_type, headers=options.headers, timeout=options.timeout)


def _grpc(options: TracingOptions) -> Callable[[bytes], None]:
    try:
        from quadra_matrix.telemetry.grpc import GrpcPost  # 18 MB that only this protocol needs
    except ModuleNotFoundError as missing:
        raise MissingExtra("grpcio", "tracing-grpc") from missing
    return GrpcPost(options.endpoint, headers=options.headers, timeout=options.timeout)
