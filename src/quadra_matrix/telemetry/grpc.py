"""Send OTLP over gRPC within a deadline: the one method is called by its name, without generated stubs."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

import grpc

from quadra_matrix.telemetry.export import NotDelivered

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
RETRIED = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.CANCELLED,
    }
)


class GrpcPost:
    """Posts serialised export requests to one collector. ``timeout`` bounds one call in seconds.

    gRPC does not survive a fork with an open channel, so the channel opens with the first call, in the process that
    makes it.
    """

    def __init__(self, url: str, *, headers: Mapping[str, str], timeout: float) -> None:
        address = urlsplit(url)
        self._place = f"{address.hostname}:{address.port or 4317}"
        self._is_secure = address.scheme == "https"
        self._metadata = tuple(headers.items())
        self._timeout = timeout
        self._call: grpc.UnaryUnaryMultiCallable | None = None

    def __call__(self, body: bytes) -> None:
        """Send ``body``; raise ``NotDelivered`` unless the collector took it."""
        if self._call is None:
            self._call = self._open().unary_unary(METHOD)
        try:
            self._call(body, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as failed:
            code = failed.code()
            raise NotDelivered(f"{self._place} answered {code.name}", may_retry=code in RETRIED) from failed

    def _open(self) -> grpc.Channel:
        if self._is_secure:
            return grpc.secure_channel(self._place, grpc.ssl_channel_credentials())
        return grpc.insecure_channel(self._place)
