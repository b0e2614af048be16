"""A process whose receiver hangs ends when it is asked to; a forked one sends what is its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from quadra_matrix.telemetry.environment import Exporter, TracingOptions, tracing_options
from quadra_matrix.telemetry.otel import Tracing
from tests.telemetry.receivers import grpc_receiver, http_receiver, silent_receiver

ROOT = Path(__file__).parents[2]
SOON = 30.0
HANGING = {
    "http": {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
    "grpc": {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
    "zipkin": {"TRACING_EXPORTER": "zipkin"},
}
WAITS_FOR_SIGTERM = """
import signal, sys
from quadra_matrix.telemetry.environment import tracing_options
from quadra_matrix.telemetry.otel import Tracing

tracing = Tracing(tracing_options())
with tracing.create_span("work"):
    pass
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
signal.pause()
"""
FORKS = """
import os
from quadra_matrix.telemetry.environment import tracing_options
from quadra_matrix.telemetry.otel import Tracing

tracing = Tracing(tracing_options())
for name in ("sent before", "waits"):
    with tracing.create_span(name):
        pass
    assert name == "waits" or tracing.flush(20)
child = os.fork()
with tracing.create_span("of the child" if not child else "of the parent"):
    pass
assert tracing.close(20)
os._exit(0) if not child else os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("protocol", HANGING)
def test_a_process_ends_though_its_receiver_hangs(protocol: str) -> None:
    with silent_receiver() as url:
        variables = HANGING[protocol] | {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_ZIPKIN_ENDPOINT": url}
        with subprocess.Popen(
            [sys.executable, "-c", WAITS_FOR_SIGTERM], env=variables, cwd=ROOT, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGTERM)

            assert process.wait(SOON) == 7


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_fork_sends_each_span_once(protocol: str) -> None:
    with (grpc_receiver if protocol == "grpc" else http_receiver)() as (url, received):
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol}
        ended = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS], env=variables, cwd=ROOT, timeout=60
        )

    assert ended.returncode == 0
    assert sorted(span.name for span in received.spans) == ["of the child", "of the parent", "sent before", "waits"]
    assert len({span.span_id for span in received.spans}) == 4


def test_what_a_hanging_receiver_does_not_take_is_bounded_and_counted() -> None:
    with silent_receiver() as url:
        tracing = Tracing(tracing_options({"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_MAX_QUEUE_SIZE": "100"}))
        for _ in range(10_000):
            tracing.start("work").end()

        exported = tracing.exported
        assert not tracing.close(0)

    assert exported.sent == 0
    assert exported.waiting <= 200  # the queue, and a batch in hand
    assert exported.waiting + exported.dropped == 10_000


def test_every_span_is_kept_while_the_queue_has_room() -> None:
    kept: list[str] = []
    options = TracingOptions(exporter=Exporter.EMBEDDED, queue_limit=5000)
    tracing = Tracing(options, deliver=lambda spans: kept.extend(span.span_id for span in spans))

    for _ in range(5000):
        tracing.start("work").end()

    assert tracing.close(SOON)
    assert len(set(kept)) == 5000
