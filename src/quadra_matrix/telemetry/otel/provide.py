"""The OpenTelemetry providers behind a ``Tracing``: what they record, and where it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, TraceIdRatioBased

from quadra_matrix.errors import MissingExtra
from quadra_matrix.telemetry import zipkin
from quadra_matrix.telemetry.environment import Exporter, Protocol, TracingOptions
from quadra_matrix.telemetry.export import ExportQueue
from quadra_matrix.telemetry.http import Post
from quadra_matrix.telemetry.otel.read import plain
from quadra_matrix.telemetry.sampling import Sampling
from quadra_matrix.telemetry.span import Span

Deliver = Callable[[Sequence[Span]], None]
"""Takes finished spans in process; runs on the exporting thread."""


class SampledIds(IdGenerator):
    """Ids for traces that were chosen before the SDK is asked: the ids agree with the choice."""

    def __init__(self, sampling: Sampling) -> None:
        self._sampling = sampling

    def generate_span_id(self) -> int:
        """Return the id of a span."""
        return self._sampling.new_span()

    def generate_trace_id(self) -> int:
        """Return the id of a trace that the ratio records."""
        return self._sampling.recorded_trace()


class Queued(SpanProcessor):
    """Puts finished spans into the queue."""

    def __init__(self, queue: ExportQueue[ReadableSpan]) -> None:
        self._queue = queue

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        """Do nothing: only a finished span is of use."""

    def on_end(self, span: ReadableSpan) -> None:
        """Queue the span; drop it if the queue is full."""
        self._queue.put(span)

    def shutdown(self) -> None:
        """Flush within the queue's deadline."""
        self._queue.close()

    def force_flush(self, timeout_millis: int = 2000) -> bool:
        """Tell whether everything was delivered in time; return in time either way."""
        return self._queue.flush(timeout_millis / 1000)


@dataclass(frozen=True, slots=True)
class Providers:
    """Two providers with one queue."""

    own: TracerProvider
    """Records whatever it starts: our own code asks the sampler first."""
    shared: TracerProvider
    """Samples by itself; for instrumentations of libraries, which start spans without asking."""


def providers(options: TracingOptions, sampling: Sampling, queue: ExportQueue[ReadableSpan]) -> Providers:
    """Return the providers of an application."""
    given = {"service.name": options.service_name, "service.version": options.service_version}
    if options.environment:
        given["deployment.environment.name"] = options.environment
    resource = Resource.create(given)
    by_ratio = TraceIdRatioBased(options.sample_ratio)
    chosen = ParentBased(by_ratio) if options.follows_caller else by_ratio
    made = Providers(
        TracerProvider(ALWAYS_ON, resource, shutdown_on_exit=False, id_generator=SampledIds(sampling)),
        TracerProvider(ALWAYS_OFF if options.exporter is Exporter.NONE else chosen, resource, shutdown_on_exit=False),
    )
    for provider in (made.own, made.shared):
        provider.add_span_processor(Queued(queue))
    return made


def sender(options: TracingOptions, deliver: Deliver) -> Callable[[Sequence[ReadableSpan]], None]:
    """Return what delivers a batch to the receiver that the options name; ``deliver`` serves those in process."""
    if options.exporter in {Exporter.CONSOLE, Exporter.EMBEDDED, Exporter.NONE}:
        return lambda batch: deliver([plain(span) for span in batch])
    if options.protocol is Protocol.ZIPKIN_JSON:
        post = _post(options, "application/json")
        return lambda batch: post(zipkin.encode(plain(span) for span in batch))
    send = _grpc(options) if options.protocol is Protocol.OTLP_GRPC else _post(options, "application/x-protobuf")
    return lambda batch: send(encode_spans(batch).SerializeToString())


def _post(options: TracingOptions, content_type: str) -> Callable[[bytes], None]:
    return Post(options.endpoint, content_type=content_type, headers=options.headers, timeout=options.timeout)


def _grpc(options: TracingOptions) -> Callable[[bytes], None]:
    try:
        from quadra_matrix.telemetry.grpc import GrpcPost  # 18 MB that only this protocol needs
    except ModuleNotFoundError as missing:
        raise MissingExtra("grpcio", "tracing-grpc") from missing
    return GrpcPost(options.endpoint, headers=options.headers, timeout=options.timeout)
